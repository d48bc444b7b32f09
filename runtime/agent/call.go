package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"
)

// call is an open stream on the client's side.
type call struct {
	id       uint32
	name     string
	limit    int           // how long the reply's body may be
	settle   time.Duration // how long it waits for the reply once it is cancelled
	credit   *credit       // what the agent takes; of an upload only
	in       *inbox        // what came; of a connection only
	accepted chan struct{} // closed when a connection stands

	mu        sync.Mutex
	body      []byte
	abandoned bool // nobody waits for the body any more

	done  chan struct{} // closed by finish
	reply *reply
	err   error
}

// finish ends the call: with a reply, or because the link has ended.
func (c *call) finish(r *reply, err error) {
	if r != nil && r.Error != nil {
		err = fromWire(r.Error)
	}
	c.reply, c.err = r, err
	if c.in != nil {
		if err == nil {
			err = io.EOF
		}
		c.in.end(err)
	}
	close(c.done)
}

// data takes a piece of the reply's body, or of a connection.
func (c *call) data(p []byte) error {
	if c.in != nil {
		return c.in.put(p)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.body)+len(p) > c.limit {
		return fmt.Errorf("a body longer than the %d bytes that %s may have", c.limit, c.name)
	}
	if !c.abandoned {
		c.body = append(c.body, p...)
	}
	return nil
}

func (c *call) accept() error {
	select {
	case <-c.accepted:
		return errors.New("a connection accepted twice")
	default:
		close(c.accepted)
		return nil
	}
}

// open sends a request. The caller holds the call until it is done, or hands it to abandon.
func (c *Client) open(ctx context.Context, req request, limit int) (*call, error) {
	if err := req.valid(); err != nil {
		return nil, err
	}
	select {
	case c.slots <- struct{}{}:
	case <-c.done:
		return nil, c.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	call := &call{name: req.Op, limit: limit, settle: settle, done: make(chan struct{})}
	if req.Command != nil {
		call.settle = EndsWithin
	}
	if req.uploads() {
		call.credit = newCredit()
	}
	if req.Op == opDial {
		call.accepted = make(chan struct{})
		call.in = newInbox(func(n int) { _ = c.out.sendCredit(context.Background(), call.id, n) })
	}
	if err := c.register(call); err != nil {
		<-c.slots
		return nil, err
	}
	if err := c.out.sendHead(ctx, kindRequest, call.id, req); err != nil {
		c.mu.Lock()
		delete(c.calls, call.id)
		c.mu.Unlock()
		<-c.slots
		return nil, err
	}
	return call, nil
}

// register gives a call its number.
func (c *Client) register(call *call) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return c.err
	}
	for c.next++; c.next == 0 || c.calls[c.next] != nil; c.next++ {
	}
	call.id = c.next
	c.calls[call.id] = call
	return nil
}

// wait waits for the call's reply. When ctx is done first, the agent is told to end the work.
func (c *Client) wait(ctx context.Context, call *call) (*reply, error) {
	select {
	case <-call.done:
		<-c.slots
		return call.reply, call.err
	case <-ctx.Done():
	}
	c.abandon(call)
	select {
	case <-call.done:
	case <-time.After(call.settle):
	}
	return nil, ctx.Err()
}

// abandon cancels a call that nobody waits for. Its slot is free again when the agent has answered, which it
// must, or the link is given up.
func (c *Client) abandon(call *call) {
	call.mu.Lock()
	call.abandoned, call.body = true, nil
	call.mu.Unlock()
	if call.in != nil {
		call.in.end(context.Canceled)
	}
	go func() {
		defer time.AfterFunc(cancelLimit, func() {
			c.lose(fmt.Errorf("the agent did not end a cancelled call (%s) within %s", call.name, cancelLimit))
		}).Stop()
		_ = c.out.send(context.Background(), frame{kind: kindCancel, stream: call.id})
		<-call.done
		<-c.slots
	}()
}

// do makes a call without an upload.
func (c *Client) do(ctx context.Context, req request, limit int) (*reply, []byte, error) {
	call, err := c.open(ctx, req, limit)
	if err != nil {
		return nil, nil, err
	}
	r, err := c.wait(ctx, call)
	if err != nil {
		return nil, nil, err
	}
	return r, call.body, nil
}

// upload makes a call whose content follows the request.
func (c *Client) upload(ctx context.Context, req request, limit int, content io.Reader) (*reply, []byte, error) {
	call, err := c.open(ctx, req, limit)
	if err != nil {
		return nil, nil, err
	}
	sending, stop := context.WithCancel(ctx)
	var readErr error
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		readErr, _ = sendStream(sending, c.out, call.id, call.credit, content)
	}()
	// The content is the caller's again when this returns, unless it is stuck in a Read.
	defer func() {
		stop()
		select {
		case <-sent:
		case <-time.After(settle):
		}
	}()
	select {
	case <-call.done: // an agent that answers early wants no more
	case <-ctx.Done():
	case <-sent:
		if readErr != nil {
			c.abandon(call)
			return nil, nil, fmt.Errorf("read the content: %w", readErr)
		}
	}
	r, err := c.wait(ctx, call)
	if err != nil {
		return nil, nil, err
	}
	return r, call.body, nil
}
