package agent

import (
	"context"
	"io"
	"net"
	"sync"
	"time"
)

// linger is how long a closed connection may take to deliver what was written to it.
const linger = 5 * time.Second

// conn is a connection from inside the machine. Two goroutines carry bytes between the link and an
// in-memory pipe, which brings the deadlines of a net.Conn with it.
type conn struct {
	net.Conn // the caller's end of the pipe
	call     *call
	remote   addr
}

type addr struct{ network, address string }

func (a addr) Network() string { return a.network }
func (a addr) String() string  { return a.address }

func newConn(c *Client, call *call, network, address string) net.Conn {
	ours, theirs := net.Pipe()
	ctx, cancel := context.WithCancel(context.Background())
	var carrying sync.WaitGroup
	carrying.Go(func() { // to the agent
		readErr, err := sendStream(ctx, c.out, call.id, call.credit, ours)
		if readErr != nil { // our end of the pipe was closed, since the server's was
			err = c.out.send(ctx, frame{kind: kindEnd, stream: call.id})
		}
		if err == nil { // the agent delivers what it has, and answers
			select {
			case <-call.done:
			case <-time.After(linger):
			}
		}
		cancel()
	})
	carrying.Go(func() { // from the agent
		for {
			p, err := call.in.read(ctx, maxData)
			if err != nil {
				break
			}
			if _, err := ours.Write(p); err != nil {
				// The caller has closed. What still comes is dropped, as a kernel would.
				call.in.end(io.ErrClosedPipe)
				return
			}
		}
		_ = ours.Close()
	})
	go func() {
		select {
		case <-call.done:
			<-c.slots
		case <-ctx.Done():
			c.abandon(call)
		}
		cancel()
		_ = ours.Close()
		carrying.Wait()
	}()
	return &conn{Conn: theirs, call: call, remote: addr{network, address}}
}

func (c *conn) RemoteAddr() net.Addr { return c.remote }
func (c *conn) LocalAddr() net.Addr  { return addr{c.remote.network, ""} }

func (c *conn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	return n, c.why(err)
}

func (c *conn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	return n, c.why(err)
}

// why gives the reason for a pipe that has ended: the link's or the connection's own error.
func (c *conn) why(err error) error {
	if err != io.EOF && err != io.ErrClosedPipe {
		return err
	}
	select {
	case <-c.call.done:
		if c.call.err != nil {
			return c.call.err
		}
	default:
	}
	return err
}
