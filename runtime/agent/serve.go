package agent

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pgrun/pgrun/runtime/host"
)

// MaxCalls is how many calls a client has open at once; more wait.
const MaxCalls = 256

// wrapUp is how long an agent waits for its calls to end when its client has gone.
const wrapUp = 10 * time.Second

// Options are what an agent is started with.
type Options struct {
	// ReadOnly makes it refuse whatever would change the machine.
	ReadOnly bool

	// RunDir is the folder of the journals; empty keeps none. See RunDir.
	RunDir string
}

// Serve answers requests from in on out, until in ends or ctx is done. Then it ends every command it
// runs, removes its temporary files, and returns. Its error is nil where the client went away in good
// order.
func Serve(ctx context.Context, in io.Reader, out io.Writer, o Options) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	s := &server{
		readOnly: o.ReadOnly,
		calls:    make(map[uint32]*serverCall),
		pongs:    make(chan struct{}, 1),
		forks:    make(chan func()),
		over:     make(chan struct{}),
	}
	defer close(s.over)
	s.handle = s.do
	if !o.ReadOnly && o.RunDir != "" {
		j, err := openJournal(o.RunDir)
		if err != nil {
			return err
		}
		s.journal = j
		defer j.close()
	}
	if _, err := io.WriteString(out, preamble); err != nil {
		return err
	}
	s.out = newSender(out, func(err error) { cancel(err) })
	defer s.out.stop(io.ErrClosedPipe)
	err := s.out.sendHead(ctx, kindHello, 0, hello{Protocol: protocol, ReadOnly: o.ReadOnly})
	if err != nil {
		return err
	}
	go s.pong(ctx)
	// The reader may be stuck in a read that nothing ends, of a terminal for one; it is not waited for.
	go func() { cancel(s.receive(ctx, bufio.NewReaderSize(in, maxData+headerSize))) }()
	<-ctx.Done()

	s.mu.Lock()
	s.closing = true
	s.mu.Unlock()
	idle := make(chan struct{})
	go func() { s.running.Wait(); close(idle) }()
	select {
	case <-idle:
	case <-time.After(wrapUp):
	}
	if err := context.Cause(ctx); err != io.EOF && !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// server is an agent at work.
type server struct {
	readOnly bool
	out      *sender
	accounts accounts
	journal  *journal      // nil keeps none
	pongs    chan struct{} // asks for a pong
	forks    chan func()   // see start
	over     chan struct{} // closed when Serve returns

	handle  func(context.Context, *serverCall, request) (reply, error) // do, but for tests
	forking sync.Once

	mu      sync.Mutex
	calls   map[uint32]*serverCall
	closing bool
	open    atomic.Int64   // calls whose reply is not queued yet
	running sync.WaitGroup // the same
}

// serverCall is one stream.
type serverCall struct {
	id     uint32
	cancel context.CancelFunc
	in     *inbox  // what the client uploads; nil where it uploads nothing
	credit *credit // what the client still takes; of a connection only
	body   body    // of the answer
}

// receive reads frames until the link ends, and returns why: io.EOF in good order.
func (s *server) receive(ctx context.Context, r *bufio.Reader) error {
	for {
		f, err := readFrame(r)
		if err != nil {
			return err
		}
		if err := s.dispatch(ctx, f); err != nil {
			return err
		}
	}
}

// dispatch handles one frame without blocking. An error means that the client is not ours.
func (s *server) dispatch(ctx context.Context, f frame) error {
	switch f.kind {
	case kindRequest:
		return s.accept(ctx, f)
	case kindPing:
		select {
		case s.pongs <- struct{}{}:
		default: // one is under way
		}
		return nil
	case kindData, kindEnd, kindCredit, kindCancel:
	default:
		return fmt.Errorf("a client sent a frame of kind %d", f.kind)
	}
	s.mu.Lock()
	c := s.calls[f.stream]
	s.mu.Unlock()
	if c == nil {
		return nil // the call is over; the client did not know yet
	}
	switch {
	case f.kind == kindCancel:
		c.cancel()
	case f.kind == kindCredit && c.credit != nil:
		n, err := f.credit()
		if err != nil {
			return err
		}
		return c.credit.add(n)
	case f.kind == kindData && c.in != nil:
		return c.in.put(f.payload)
	case f.kind == kindEnd && c.in != nil:
		c.in.end(io.EOF)
	default:
		return fmt.Errorf("a frame of kind %d on a stream that has none", f.kind)
	}
	return nil
}

// accept starts the call of a request frame.
func (s *server) accept(ctx context.Context, f frame) error {
	req, err := parseRequest(f.payload)
	if err != nil {
		return err
	}
	callCtx, cancel := context.WithCancel(ctx)
	c := &serverCall{id: f.stream, cancel: cancel, body: body{stream: f.stream}}
	if req.uploads() {
		c.in = newInbox(func(n int) { _ = s.out.sendCredit(callCtx, c.id, n) })
	}
	if req.Op == opDial {
		c.credit = newCredit()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	// A client counts a call until its reply has come, this agent until it is queued: half of the
	// bound is room for the difference.
	switch {
	case s.closing:
		cancel()
		return nil
	case s.calls[c.id] != nil:
		cancel()
		return fmt.Errorf("stream %d is open already", c.id)
	case s.open.Load() >= 2*MaxCalls:
		cancel()
		return fmt.Errorf("more than %d calls at once", 2*MaxCalls)
	}
	s.calls[c.id] = c
	s.open.Add(1)
	s.running.Go(func() {
		defer s.open.Add(-1)
		defer cancel()
		s.answer(ctx, callCtx, c, req)
	})
	return nil
}

// answer runs a call and sends its reply.
func (s *server) answer(ctx, callCtx context.Context, c *serverCall, req request) {
	r, err := s.protected(callCtx, c, req)
	content := c.body.rest()
	if err != nil {
		r, content = reply{Error: toWire(err)}, nil
	}
	if c.in != nil {
		c.in.end(io.ErrClosedPipe)
	}
	s.mu.Lock()
	delete(s.calls, c.id)
	s.mu.Unlock()
	if err := s.out.sendHead(ctx, kindReply, c.id, r, content...); err != nil && ctx.Err() == nil {
		_ = s.out.sendHead(ctx, kindReply, c.id, reply{Error: toWire(err)})
	}
}

// protected runs a call and makes an error of a panic: one bad call must not take the others with it.
func (s *server) protected(ctx context.Context, c *serverCall, req request) (r reply, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the agent panicked in %s: %v\n%s", req.Op, p, firstBytes(debug.Stack(), 4<<10))
		}
	}()
	return s.handle(ctx, c, req)
}

// do is the table of operations.
func (s *server) do(ctx context.Context, c *serverCall, req request) (reply, error) {
	body := func(b []byte) error { return c.body.add(ctx, s.out, b) }
	switch req.Op {
	case opStat:
		return s.stat(req.Path)
	case opRead:
		return reply{}, readFile(req.Path, body)
	case opReadDir:
		return reply{}, s.readDir(ctx, req.Path, body)
	case opHash:
		return hash(ctx, req.Path)
	case opFacts:
		return facts()
	case opDial:
		return reply{}, s.dial(ctx, c, req)
	case opLook:
		if err := allowLook(req.Command, s.readOnly); err != nil {
			return reply{}, err
		}
		return s.run(ctx, c, req, body)
	}
	if s.readOnly {
		return reply{}, fmt.Errorf("%s: %w: this agent is read-only (dry run)", req, ErrRefused)
	}
	switch req.Op {
	case opWrite:
		return reply{}, s.writeFile(req.Path, c.in.reader(ctx), req.Attributes)
	case opMkdir:
		return reply{}, s.mkdir(req.Path, req.Attributes)
	case opSymlink:
		return reply{}, s.symlink(req.Target, req.Path)
	case opAttributes:
		return reply{}, s.setAttributes(req.Path, req.Attributes)
	case opRemove:
		return reply{}, remove(req.Path, req.Recursive)
	case opRun:
		return s.run(ctx, c, req, body)
	}
	return reply{}, fmt.Errorf("the agent knows no operation %q", req.Op)
}

// allowLook checks a command against the table of looks.
func allowLook(c *host.Command, readOnly bool) error {
	if c == nil {
		return errors.New("look: no command")
	}
	if c.Reads {
		return nil
	}
	if err := checkLook(*c, readOnly); err != nil {
		return fmt.Errorf("%s: %w: %v", c, ErrRefused, err)
	}
	return nil
}

// pong answers pings, apart from the reader, which must not wait for a client that does not read.
func (s *server) pong(ctx context.Context) {
	for {
		select {
		case <-s.pongs:
			if s.out.send(ctx, frame{kind: kindPong}) != nil {
				return
			}
		case <-ctx.Done():
			return
		}
	}
}

func firstBytes(b []byte, n int) []byte { return b[:min(n, len(b))] }
