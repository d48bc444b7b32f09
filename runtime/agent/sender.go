package agent

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"sync"
)

// queued is how many frames wait for the writer before a sender has to wait.
const queued = 16

// sender writes frames to one side of a link.
type sender struct {
	w      io.Writer
	broken func(error)
	queue  chan *[]byte  // nil in an agent
	done   chan struct{} // closed by stop

	writing sync.Mutex // of an agent

	once sync.Once
	err  error // why it stopped; read after done
}

// frames recycles the buffers of frames between caller and writer.
var frames = sync.Pool{New: func() any { b := make([]byte, 0, 4<<10); return &b }}

// newSender returns a sender for an agent: whoever sends writes, which is quickest. A client that does
// not read holds up its own calls, and nothing else. When a write fails, broken is told.
func newSender(w io.Writer, broken func(error)) *sender {
	return &sender{w: w, broken: broken, done: make(chan struct{})}
}

// newQueue returns a sender for a client. A goroutine of its own does the writing, until stop is called or
// a write fails, so that a caller whose context ends is not held by an agent that does not read.
func newQueue(w io.Writer, broken func(error)) *sender {
	s := newSender(w, broken)
	s.queue = make(chan *[]byte, queued)
	go s.write()
	return s
}

func (s *sender) write() {
	out := bufio.NewWriterSize(s.w, 32<<10)
	for {
		select {
		case <-s.done:
			return
		case f := <-s.queue:
			_, err := out.Write(*f)
			frames.Put(f)
			if err == nil && len(s.queue) == 0 {
				err = out.Flush()
			}
			if err != nil {
				s.stop(err)
				s.broken(err)
				return
			}
		}
	}
}

// stop ends the writer, and every send with err.
func (s *sender) stop(err error) {
	s.once.Do(func() {
		s.err = err
		close(s.done)
	})
}

// send sends or queues frames, all at once. Their payloads may be used again when it returns.
func (s *sender) send(ctx context.Context, all ...frame) error {
	buf := frames.Get().(*[]byte)
	*buf = (*buf)[:0]
	for _, f := range all {
		*buf = f.encode(*buf)
	}
	if s.queue == nil {
		defer frames.Put(buf)
		return s.writeNow(ctx, *buf)
	}
	select {
	case s.queue <- buf:
		return nil
	case <-s.done:
		return s.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *sender) writeNow(ctx context.Context, b []byte) error {
	s.writing.Lock()
	defer s.writing.Unlock()
	select {
	case <-s.done:
		return s.err
	default:
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if _, err := s.w.Write(b); err != nil {
		s.stop(err)
		s.broken(err)
		return err
	}
	return nil
}

// sendHead sends a frame whose payload is head as JSON, after others.
func (s *sender) sendHead(ctx context.Context, k kind, stream uint32, head any, before ...frame) error {
	payload, err := json.Marshal(head)
	if err != nil {
		return err
	}
	if len(payload) > maxHead {
		return fmt.Errorf("a message of %d bytes is too long: %d at most", len(payload), maxHead)
	}
	return s.send(ctx, append(before, frame{kind: k, stream: stream, payload: payload})...)
}

// sendCredit lets the peer send n bytes more on stream.
func (s *sender) sendCredit(ctx context.Context, stream uint32, n int) error {
	return s.send(ctx, frame{kind: kindCredit, stream: stream, payload: binary.BigEndian.AppendUint32(nil, uint32(n))})
}

// body is the content of an answer, sent in data frames without credit: its length is bounded by nature. What fits into
// the last of them goes with the reply, which saves whoever carries the answer a message.
type body struct {
	stream uint32
	held   []byte
}

// add sends b but for what the last frame will hold.
func (c *body) add(ctx context.Context, s *sender, b []byte) error {
	for len(c.held)+len(b) > maxData {
		n := maxData - len(c.held)
		c.held = append(c.held, b[:n]...)
		if err := s.send(ctx, frame{kind: kindData, stream: c.stream, payload: c.held}); err != nil {
			return err
		}
		c.held, b = c.held[:0], b[n:]
	}
	c.held = append(c.held, b...)
	return nil
}

// rest is what has not been sent.
func (c *body) rest() []frame {
	if len(c.held) == 0 {
		return nil
	}
	return []frame{{kind: kindData, stream: c.stream, payload: c.held}}
}
