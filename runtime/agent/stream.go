package agent

import (
	"context"
	"errors"
	"io"
	"sync"
)

// window is how many bytes of a stream with credit may be on their way or wait at its receiver.
const window = 512 << 10

var errOverrun = errors.New("the peer sent more than its credit")

// inbox holds what came on a stream and was not read yet, window bytes at most. put and end are
// called by the link's reader and never block; read by one goroutine at a time.
type inbox struct {
	grant func(n int) // gives the peer credit for n bytes that were read

	mu     sync.Mutex
	chunks [][]byte
	held   int   // bytes in chunks
	owed   int   // bytes read and not granted again
	ended  error // why no more will come: io.EOF after a proper end

	wake chan struct{} // holds one token when there may be something new
}

func newInbox(grant func(n int)) *inbox {
	return &inbox{grant: grant, wake: make(chan struct{}, 1)}
}

// put adds bytes that came.
func (b *inbox) put(p []byte) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ended != nil {
		return nil // the reader has lost interest
	}
	if b.held+b.owed+len(p) > window {
		return errOverrun
	}
	if len(p) > 0 {
		b.chunks = append(b.chunks, p)
		b.held += len(p)
	}
	b.signal()
	return nil
}

// end says that no more will come, and why; io.EOF is the proper end. The first reason stands.
func (b *inbox) end(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ended == nil {
		b.ended = err
	}
	b.signal()
}

func (b *inbox) signal() {
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

// read returns the next bytes, at most max of them and at least one. They belong to the caller.
func (b *inbox) read(ctx context.Context, most int) ([]byte, error) {
	for {
		if p, err := b.take(most); p != nil || err != nil {
			return p, err
		}
		select {
		case <-b.wake:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// take is read without waiting: nil, nil where nothing is there yet.
func (b *inbox) take(most int) ([]byte, error) {
	b.mu.Lock()
	if len(b.chunks) == 0 {
		defer b.mu.Unlock()
		return nil, b.ended
	}
	p := b.chunks[0]
	if len(p) > most {
		p, b.chunks[0] = p[:most], p[most:]
	} else {
		b.chunks = b.chunks[1:]
	}
	b.held -= len(p)
	b.owed += len(p)
	grant := 0
	if b.owed >= window/2 && b.ended == nil {
		grant, b.owed = b.owed, 0
	}
	b.mu.Unlock()
	if grant > 0 {
		b.grant(grant)
	}
	return p, nil
}

// reader makes an inbox an io.Reader.
func (b *inbox) reader(ctx context.Context) io.Reader { return &inboxReader{ctx, b} }

type inboxReader struct {
	ctx context.Context
	b   *inbox
}

// WriteTo lets io.Copy pass on what came without another copy of it.
func (r *inboxReader) WriteTo(w io.Writer) (n int64, err error) {
	for {
		p, err := r.b.read(r.ctx, maxData)
		if err == io.EOF {
			return n, nil
		}
		if err != nil {
			return n, err
		}
		k, err := w.Write(p)
		n += int64(k)
		if err != nil {
			return n, err
		}
	}
}

func (r *inboxReader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	got, err := r.b.read(r.ctx, len(p))
	return copy(p, got), err
}

// credit counts how many bytes the peer still takes on a stream.
type credit struct {
	mu   sync.Mutex
	left int
	wake chan struct{}
}

func newCredit() *credit { return &credit{left: window, wake: make(chan struct{}, 1)} }

// add is called when the peer grants n bytes more.
func (c *credit) add(n int) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if n < 0 || n > window-c.left {
		return errors.New("the peer granted more credit than there is")
	}
	c.left += n
	select {
	case c.wake <- struct{}{}:
	default:
	}
	return nil
}

// take waits until at least one byte may be sent, and takes at most most.
func (c *credit) take(ctx context.Context, most int) (int, error) {
	for {
		c.mu.Lock()
		n := min(c.left, most)
		c.left -= n
		c.mu.Unlock()
		if n > 0 {
			return n, nil
		}
		select {
		case <-c.wake:
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
}

// pieces recycles the buffers that files and streams are read into.
var pieces = sync.Pool{New: func() any { return new([maxData]byte) }}

// sendStream sends all of r on a stream, as credit comes, and then the end. It stops when ctx is done.
// readErr is r's own failure, err the link's or ctx's.
func sendStream(ctx context.Context, s *sender, stream uint32, c *credit, r io.Reader) (readErr, err error) {
	buf := pieces.Get().(*[maxData]byte)[:]
	defer pieces.Put((*[maxData]byte)(buf))
	for {
		n, readErr := r.Read(buf)
		for rest := buf[:n]; len(rest) > 0; {
			n, err := c.take(ctx, len(rest))
			if err != nil {
				return nil, err
			}
			if err := s.send(ctx, frame{kind: kindData, stream: stream, payload: rest[:n]}); err != nil {
				return nil, err
			}
			rest = rest[n:]
		}
		if readErr == io.EOF {
			return nil, s.send(ctx, frame{kind: kindEnd, stream: stream})
		}
		if readErr != nil {
			return readErr, nil
		}
	}
}
