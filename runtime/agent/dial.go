package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// dialTimeout bounds connecting where the client sets no deadline.
const dialTimeout = 30 * time.Second

// dial connects and carries bytes both ways until the client closes its side, or the connection breaks.
func (s *server) dial(ctx context.Context, c *serverCall, req request) error {
	conn, err := s.connect(ctx, req)
	if err != nil {
		return err
	}
	defer conn.Close()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	if err := s.out.send(ctx, frame{kind: kindAccept, stream: c.id}); err != nil {
		return err
	}
	received := make(chan struct{})
	go func() {
		defer close(received)
		// When the peer has sent all, the client may still have something to say.
		if readErr, _ := sendStream(ctx, s.out, c.id, c.credit, conn); readErr != nil {
			cancel(readErr)
		}
	}()
	_, err = io.Copy(struct{ io.Writer }{conn}, c.in.reader(ctx))
	_ = conn.Close()
	if cause := context.Cause(ctx); err != nil && cause != nil {
		err = cause
	}
	cancel(nil)
	<-received
	return err
}

func (s *server) connect(ctx context.Context, req request) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	switch req.Network {
	case "tcp":
		if req.User != "" {
			return nil, fmt.Errorf("dial %s as %q: only a Unix socket carries a user", req.Address, req.User)
		}
	case "unix":
		if req.User == "" {
			break
		}
		user, credential, err := s.runAs(req.User)
		if err != nil {
			return nil, err
		}
		if credential != nil {
			return dialAs(ctx, req.Address, user.name, credential)
		}
	default:
		return nil, fmt.Errorf("dial %q: the network is tcp or unix", req.Network)
	}
	var d net.Dialer
	return d.DialContext(ctx, req.Network, req.Address)
}

// dialAs connects to a Unix socket as another user. The kernel notes who connects (SO_PEERCRED) in
// connect(2) itself, and a thread has an identity of its own: so a thread takes the user's, connects,
// and is thrown away.
func dialAs(ctx context.Context, address, user string, as *syscall.Credential) (net.Conn, error) {
	type result struct {
		conn net.Conn
		err  error
	}
	results := make(chan result, 1)
	go func() {
		runtime.LockOSThread() // and never unlock: Go ends the thread with this goroutine
		conn, err := connectAs(ctx, address, as)
		if err != nil {
			err = fmt.Errorf("dial unix %s as %s: %w", address, user, err)
		}
		results <- result{conn, err}
	}()
	r := <-results // connect(2) has a timeout of its own
	return r.conn, r.err
}

// connectAs is dialAs on its thread. The system calls are raw because those of package syscall change
// all threads of the process.
func connectAs(ctx context.Context, address string, as *syscall.Credential) (net.Conn, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	f := os.NewFile(uintptr(fd), address)
	defer f.Close()
	// A server whose backlog is full makes connect(2) wait, as long as sending may.
	deadline, _ := ctx.Deadline()
	timeout := unix.NsecToTimeval(max(time.Until(deadline), time.Millisecond).Nanoseconds())
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &timeout); err != nil {
		return nil, os.NewSyscallError("setsockopt", err)
	}
	if err := becomeOnThread(as); err != nil {
		return nil, err
	}
	for {
		err = unix.Connect(fd, &unix.SockaddrUnix{Name: address})
		if err != unix.EINTR {
			break
		}
	}
	if err == unix.EAGAIN {
		return nil, errors.New("the server does not accept connections")
	}
	if err != nil {
		return nil, os.NewSyscallError("connect", err)
	}
	timeout = unix.Timeval{}
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &timeout); err != nil {
		return nil, os.NewSyscallError("setsockopt", err)
	}
	return net.FileConn(f) // a duplicate, non-blocking
}
