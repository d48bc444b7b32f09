package incus

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"
	client "github.com/lxc/incus/v6/client"
	"github.com/lxc/incus/v6/shared/api"
	"github.com/lxc/incus/v6/shared/tcp"
	"golang.org/x/sync/errgroup"

	"github.com/pgrun/pgrun/runtime/agent"
	"github.com/pgrun/pgrun/runtime/host"
)

// process is a command that runs on an instance. Reading and writing it are its standard output and
// input; what it says on standard error is kept for error messages. Reads end with io.EOF after exit
// code 0, else with a *host.Unreachable that says why.
//
// Incus gives each stream a websocket of its own, and one for control; closing that one kills the
// command. In the others an empty text message marks the end.
type process struct {
	server   *Server
	instance string

	stdin, stdout, stderr, control *websocket.Conn

	out     frames
	words   tail       // standard error
	writing sync.Mutex // one frame at a time
	closing atomic.Bool

	// done is closed when the command has ended and those below are set.
	done     chan struct{}
	rc       int
	notFound bool  // its program is not there, or not executable
	waitErr  error // it could not be started, or nobody knows how it ended

	stopWaiting context.CancelFunc
	killing     sync.Once
	pumps       sync.WaitGroup
}

const (
	// closeGrace is how long a command may take to end by itself after the end of its input: the agent ends its
	// children meanwhile. When it is killed before that, they go on.
	closeGrace = agent.EndsWithin

	// killGrace is how long ending the input may take, and how long the daemon may take to say that a command
	// has been killed.
	killGrace = 500 * time.Millisecond
)

// websocketBuffer has room for the largest frame of the agent's protocol, and those of the websocket's own header.
// The client library's 4 KiB would make sixteen of one.
const websocketBuffer = 64<<10 + 64

// writeBuffers are shared by the websockets: most never write, or once.
var writeBuffers sync.Pool

// exec starts a command as root. Its arguments show in the daemon's operations and in process lists:
// that is no place for secrets.
func (s *Server) exec(ctx context.Context, instance string, argv []string) (*process, error) {
	p := &process{server: s, instance: instance, done: make(chan struct{})}
	op, err := p.request(ctx, argv)
	// While an instance boots, a command now and then ends before it begins.
	for tries := 1; err != nil && strings.Contains(err.Error(), "Only running operations can be connected") && tries < 5; tries++ {
		if host.Pause(ctx, pollEvery) != nil {
			break
		}
		op, err = p.request(ctx, argv)
	}
	if err != nil {
		return nil, err
	}
	p.out.conn = p.stdout

	// The context is for starting; the process lives on.
	waiting, stop := context.WithCancel(context.WithoutCancel(ctx))
	p.stopWaiting = stop
	p.pumps.Go(func() { p.wait(waiting, op.Get().ID) })
	p.pumps.Go(func() { _, _ = io.Copy(&p.words, &frames{conn: p.stderr}) })
	for _, conn := range []*websocket.Conn{p.stdin, p.control} {
		p.pumps.Go(func() { _, _, _ = conn.NextReader() }) // answers the daemon's pings
	}
	return p, nil
}

// request has the daemon prepare a command, and attaches to it, which is what starts it.
func (p *process) request(ctx context.Context, argv []string) (client.Operation, error) {
	s, instance := p.server, p.instance
	op, _, err := s.client(ctx).RawOperation("POST", "/instances/"+url.PathEscape(instance)+"/exec",
		execPost(argv), "")
	if err != nil {
		return nil, s.explain(ctx, "run a command on "+instance, s.instanceError(instance, err))
	}
	if err := p.attach(ctx, op); err != nil {
		p.hangUp() // not all are attached: so the daemon has not started the command, and will not
		return nil, s.explain(ctx, "attach to a command on "+instance, err)
	}
	return op, nil
}

// execPost is how every command is asked for.
func execPost(argv []string) api.InstanceExecPost {
	return api.InstanceExecPost{Command: argv, WaitForWS: true}
}

// attach connects the four websockets, all at once.
func (p *process) attach(ctx context.Context, op client.Operation) error {
	fds, _ := op.Get().Metadata["fds"].(map[string]any)
	var g errgroup.Group
	for fd, conn := range map[string]**websocket.Conn{
		"0": &p.stdin, "1": &p.stdout, "2": &p.stderr, api.SecretNameControl: &p.control,
	} {
		secret, _ := fds[fd].(string)
		g.Go(func() (err error) {
			*conn, err = p.server.websocket(ctx, "/operations/"+url.PathEscape(op.Get().ID)+"/websocket?secret="+url.QueryEscape(secret))
			return err
		})
	}
	return g.Wait()
}

// websocket connects to one. The client's own way knows no contexts, nor buffers.
func (s *Server) websocket(ctx context.Context, path string) (*websocket.Conn, error) {
	stop := func() bool { return true }
	// The dialer's context would close nothing, and its deadline fail before ctx's cause can be told.
	within := func(dial dialFunc) dialFunc {
		if dial == nil {
			return nil
		}
		return func(_ context.Context, network, address string) (net.Conn, error) {
			conn, err := dial(ctx, network, address)
			if err == nil {
				stop = context.AfterFunc(ctx, func() { _ = conn.Close() })
				if tcpConn, _ := tcp.ExtractConn(conn); tcpConn != nil {
					_ = tcp.SetTimeouts(tcpConn, 0) // it notices later that the other end is gone
				}
			}
			return conn, err
		}
	}
	dialer := websocket.Dialer{
		NetDialContext:    within(s.http.DialContext),
		NetDialTLSContext: within(s.http.DialTLSContext),
		TLSClientConfig:   s.http.TLSClientConfig,
		Proxy:             s.http.Proxy,
		ReadBufferSize:    websocketBuffer,
		WriteBufferSize:   websocketBuffer,
		WriteBufferPool:   &writeBuffers,
	}
	info, err := s.base.GetConnectionInfo()
	if err != nil {
		return nil, err
	}
	conn, response, err := dialer.Dial("ws"+strings.TrimPrefix(info.URL, "http")+"/1.0"+path, http.Header{"User-Agent": {"pgrun"}})
	if response != nil {
		defer response.Body.Close()
		if said, _ := io.ReadAll(response.Body); err != nil { // the little that the dialer has kept
			err = fmt.Errorf("%w (%s): %s", err, response.Status, said)
		}
	}
	if !stop() {
		err = context.Cause(ctx)
	}
	if err != nil && conn != nil {
		_ = conn.Close()
	}
	if err != nil {
		return nil, err
	}
	return conn, nil
}

type dialFunc = func(ctx context.Context, network, address string) (net.Conn, error)

// wait learns how the command ended. The daemon closes the data streams before it says so, but not
// always when it goes away: hence hangUp.
func (p *process) wait(ctx context.Context, operation string) {
	defer close(p.done)
	op, _, err := p.server.client(ctx).GetOperationWait(operation, -1)
	if err != nil && !api.StatusErrorCheck(err) {
		p.waitErr = err
		p.hangUp()
		return
	}
	says := ""
	if err != nil { // the command's failure; some daemons tell it in the operation instead
		says = err.Error()
	} else if rc, ok := op.Metadata["return"].(float64); ok && rc >= 0 {
		p.rc = int(rc)
		return
	} else {
		says = op.Err
	}
	p.notFound = says == "Command not found" || says == "Command not executable"
	p.waitErr = errors.New(says)
}

// Read reads standard output.
func (p *process) Read(b []byte) (int, error) {
	n, err := p.out.Read(b)
	if err == nil {
		return n, nil
	}
	if p.closing.Load() {
		return n, io.ErrClosedPipe
	}
	select {
	case <-p.done:
	case <-time.After(2 * time.Second):
		// A command that closed its output and runs on. It is of no use any more.
		return n, io.EOF
	}
	if p.rc == 0 && p.waitErr == nil {
		return n, io.EOF
	}
	return n, p.why(context.Background(), downTimeout)
}

// Write writes to standard input.
func (p *process) Write(b []byte) (int, error) {
	p.writing.Lock()
	defer p.writing.Unlock()
	if p.closing.Load() {
		return 0, io.ErrClosedPipe
	}
	if err := p.stdin.WriteMessage(websocket.BinaryMessage, b); err != nil {
		select {
		case <-p.done:
			return 0, p.why(context.Background(), downTimeout)
		case <-time.After(100 * time.Millisecond):
			return 0, p.unreachable(err)
		}
	}
	return len(b), nil
}

// CloseWrite ends standard input.
func (p *process) CloseWrite() error {
	p.writing.Lock()
	defer p.writing.Unlock()
	return p.stdin.WriteMessage(websocket.TextMessage, nil)
}

// Close ends the input, gives the command a moment to end by itself, and kills it.
func (p *process) Close() error {
	if p.closing.Swap(true) {
		return nil
	}
	// A command that does not read may make this hang, and a writer before it.
	hangs := time.AfterFunc(killGrace, p.kill)
	if err := p.CloseWrite(); hangs.Stop() && err == nil {
		select {
		case <-p.done:
		case <-time.After(closeGrace):
		}
	}
	p.kill()
	return nil
}

// kill ends the command at once and returns when nothing of it is left on our side.
func (p *process) kill() {
	p.closing.Store(true)
	p.killing.Do(func() {
		_ = p.control.Close()
		select {
		case <-p.done:
		case <-time.After(killGrace):
		}
		p.stopWaiting()
		p.hangUp()
	})
	p.pumps.Wait()
}

func (p *process) hangUp() {
	for _, conn := range []*websocket.Conn{p.control, p.stdin, p.stdout, p.stderr} {
		if conn != nil {
			_ = conn.Close()
		}
	}
}

// said is the end of what the command wrote to standard error.
func (p *process) said() string { return strings.TrimSpace(p.words.String()) }

// notStarted is what the daemon says of a command that it could not start: on an instance that goes down just then, for one, whose
// state says so within downTimeout.
const (
	notStarted  = "Failed to retrieve PID of executing child process"
	downTimeout = 5 * time.Second
)

// why says why the command ended. It must have. An instance that may be going down has so much patience to say so.
func (p *process) why(ctx context.Context, patience time.Duration) error {
	<-p.done
	if p.waitErr != nil && !p.notFound {
		if err := p.server.explain(ctx, "wait for a command", p.waitErr); noDaemon(err) {
			return err
		}
	}
	if p.waitErr == nil || !strings.Contains(p.waitErr.Error(), notStarted) {
		patience = 0
	}
	// Whatever the exit code says: an instance that is not running explains it best.
	if err := p.server.down(ctx, p.instance, patience); err != nil {
		return err
	}
	switch {
	case p.rc == 137 || p.rc == 129:
		return p.unreachable(errors.New("its agent was killed: the instance was stopped, restarted or deleted, or ran out of memory"))
	case p.rc == 143:
		return p.unreachable(errors.New("its agent was ended: the instance is shutting down or restarting"))
	case p.waitErr != nil:
		return p.unreachable(fmt.Errorf("run its agent: %w", p.waitErr))
	case p.said() != "":
		return p.unreachable(fmt.Errorf("its agent ended with exit code %d: %s", p.rc, p.said()))
	}
	return p.unreachable(fmt.Errorf("its agent ended with exit code %d", p.rc))
}

// down says how an instance is that does not run, within so much time; nil of one that runs on.
func (s *Server) down(ctx context.Context, name string, patience time.Duration) error {
	const oneLook = time.Second
	ctx, cancel := context.WithTimeout(ctx, patience+oneLook)
	defer cancel()
	for over := time.Now().Add(patience); ; {
		instance, err := s.Instance(ctx, name)
		if err == nil {
			err = instance.running()
		}
		if ctx.Err() != nil {
			return nil
		}
		if err != nil || time.Now().After(over) || host.Pause(ctx, pollEvery) != nil {
			return err
		}
	}
}

func (p *process) unreachable(err error) error {
	return &host.Unreachable{Host: p.instance, Err: err}
}

// frames reads the binary messages of a websocket as one stream.
type frames struct {
	conn    *websocket.Conn
	message io.Reader // the rest of the one being read
}

// next waits until there is something to read.
func (f *frames) next() error {
	if f.message != nil {
		return nil
	}
	kind, message, err := f.conn.NextReader()
	if err == nil && kind == websocket.TextMessage {
		err = io.EOF
	}
	if err == nil {
		f.message = message
	}
	return err
}

func (f *frames) Read(b []byte) (int, error) {
	for {
		if err := f.next(); err != nil {
			return 0, err
		}
		n, err := f.message.Read(b)
		if err == io.EOF {
			f.message, err = nil, nil
		}
		if n > 0 || err != nil {
			return n, err
		}
	}
}

// tail keeps the last few kilobytes that are written to it.
type tail struct {
	mu   sync.Mutex
	kept []byte
}

const tailSize = 4 << 10

func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.kept = append(t.kept, b...)
	t.kept = t.kept[max(0, len(t.kept)-tailSize):]
	return len(b), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.kept)
}
