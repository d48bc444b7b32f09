package agent

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"
)

// ErrLost is the error of calls whose link to the agent has ended.
var ErrLost = errors.New("link to the agent lost")

// settle is how long a cancelled call waits for the agent to say that its work has ended. One that runs a
// command waits until that is dead (EndsWithin): what comes next may want its lock, its port or its files.
const settle = 250 * time.Millisecond

// cancelLimit is how long an agent may take to answer a call that was cancelled. What ends only with the agent
// (a write to a disk that hangs, the removal of a large tree) would keep its slot for good.
const cancelLimit = 30 * time.Second

// Client is pgrun's end of a link to an agent. Its methods are those of host.Host without Name, and may
// be called at once from many goroutines. When the link ends, all of them fail with ErrLost.
type Client struct {
	stream io.ReadWriteCloser
	out    *sender
	hello  hello
	slots  chan struct{} // one token for each open call

	began time.Time
	heard atomic.Int64  // when the last frame came: nanoseconds since began, which no step of the clock changes
	pongs chan struct{} // holds a token when a pong has come

	mu    sync.Mutex
	calls map[uint32]*call
	next  uint32

	done chan struct{} // closed when the link has ended
	err  error         // why; read after done
}

// NewClient waits for the agent's hello on stream and returns a client, which owns the stream from then
// on. On an error the stream is closed.
func NewClient(ctx context.Context, stream io.ReadWriteCloser) (*Client, error) {
	r := bufio.NewReaderSize(stream, maxData+headerSize)
	stop := context.AfterFunc(ctx, func() { _ = stream.Close() })
	h, err := readHello(r)
	if !stop() {
		return nil, fmt.Errorf("waiting for the agent's hello: %w", ctx.Err())
	}
	if err != nil {
		_ = stream.Close()
		return nil, err
	}
	c := &Client{
		stream: stream,
		hello:  h,
		slots:  make(chan struct{}, MaxCalls),
		pongs:  make(chan struct{}, 1),
		calls:  make(map[uint32]*call),
		done:   make(chan struct{}),
		began:  time.Now(),
	}
	c.out = newQueue(stream, c.lose)
	go func() { c.lose(c.receive(r)) }()
	return c, nil
}

// readHello reads an agent's first bytes, or says what came in their place.
func readHello(r *bufio.Reader) (hello, error) {
	got, err := r.Peek(len(preamble))
	if string(got) != preamble {
		switch {
		case len(got) > 0:
			return hello{}, fmt.Errorf("what answered is no agent of pgrun; it said %s", sample(r))
		case err == io.EOF:
			return hello{}, errors.New("the agent ended before it said anything")
		}
		return hello{}, fmt.Errorf("waiting for the agent's hello: %w", err)
	}
	_, _ = r.Discard(len(preamble))
	f, err := readFrame(r)
	if err != nil {
		return hello{}, fmt.Errorf("waiting for the agent's hello: %w", err)
	}
	var h hello
	if f.kind != kindHello {
		return hello{}, fmt.Errorf("the agent began with a frame of kind %d in place of its hello", f.kind)
	}
	if err := json.Unmarshal(f.payload, &h); err != nil {
		return hello{}, fmt.Errorf("the agent's hello: %w", err)
	}
	if h.Protocol != protocol {
		return hello{}, fmt.Errorf("the agent speaks version %d of the protocol, this pgrun version %d: remove the agent", h.Protocol, protocol)
	}
	return h, nil
}

// ReadOnly reports whether the agent refuses to write.
func (c *Client) ReadOnly() bool { return c.hello.ReadOnly }

// Done is closed when the link has ended.
func (c *Client) Done() <-chan struct{} { return c.done }

// Busy reports whether a call or connection is open.
func (c *Client) Busy() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.calls) > 0
}

// Close ends the link, and with it the agent and every command that it runs.
func (c *Client) Close() error {
	c.lose(errors.New("closed"))
	return nil
}

// Lose ends the link as Close does, for a reason that the pending calls are told.
func (c *Client) Lose(reason error) { c.lose(reason) }

// lose ends the link: all calls fail. The first reason stands.
func (c *Client) lose(reason error) {
	c.mu.Lock()
	if c.err != nil {
		c.mu.Unlock()
		return
	}
	if reason == io.EOF {
		reason = errors.New("the agent has ended")
	}
	c.err = fmt.Errorf("%w: %w", ErrLost, reason)
	calls := c.calls
	c.calls = nil
	c.mu.Unlock()
	c.out.stop(c.err)
	for _, call := range calls {
		call.finish(nil, c.err)
	}
	close(c.done)
	_ = c.stream.Close()
}

// receive reads frames until the link ends, and returns why.
func (c *Client) receive(r *bufio.Reader) error {
	for {
		f, err := readFrame(r)
		if err != nil {
			return err
		}
		c.heard.Store(int64(time.Since(c.began)))
		if err := c.dispatch(f); err != nil {
			return fmt.Errorf("the agent broke the protocol: %w", err)
		}
	}
}

// dispatch handles one frame without blocking.
func (c *Client) dispatch(f frame) error {
	if f.kind == kindPong {
		select {
		case c.pongs <- struct{}{}:
		default:
		}
		return nil
	}
	c.mu.Lock()
	call := c.calls[f.stream]
	if f.kind == kindReply {
		delete(c.calls, f.stream)
	}
	c.mu.Unlock()
	if call == nil {
		select {
		case <-c.done:
			return nil
		default:
			return fmt.Errorf("a frame of kind %d on stream %d, which is not open", f.kind, f.stream)
		}
	}
	switch {
	case f.kind == kindReply:
		var r reply
		if err := json.Unmarshal(f.payload, &r); err != nil {
			call.finish(nil, fmt.Errorf("%w: %w", ErrLost, err))
			return fmt.Errorf("a reply that is no JSON: %w", err)
		}
		call.finish(&r, nil)
	case f.kind == kindAccept && call.accepted != nil:
		return call.accept()
	case f.kind == kindCredit && call.credit != nil:
		n, err := f.credit()
		if err != nil {
			return err
		}
		return call.credit.add(n)
	case f.kind == kindEnd && call.in != nil:
		call.in.end(io.EOF)
	case f.kind == kindData:
		return call.data(f.payload)
	default:
		return fmt.Errorf("a frame of kind %d on stream %d", f.kind, f.stream)
	}
	return nil
}

// Ping asks the agent for a sign of life and waits for one. Any frame from it is one: on a busy link
// the pong has to wait its turn.
func (c *Client) Ping(ctx context.Context) error {
	select {
	case <-c.pongs: // of an earlier ping that was not waited for
	default:
	}
	asked := time.Since(c.began)
	if err := c.out.send(ctx, frame{kind: kindPing}); err != nil {
		return err
	}
	select {
	case <-c.pongs:
		return nil
	case <-c.done:
		return c.err
	case <-ctx.Done():
		if c.heard.Load() > int64(asked) {
			return nil
		}
		return fmt.Errorf("no sign of life: %w", ctx.Err())
	}
}
