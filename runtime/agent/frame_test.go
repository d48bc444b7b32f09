package agent

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"testing"
)

// link is a few frames of each kind, in bytes.
func exampleFrames() []byte {
	var b []byte
	for _, f := range []frame{
		{kindHello, 0, []byte(`{"protocol":1}`)},
		{kindRequest, 1, []byte(`{"op":"dial","network":"tcp"}`)},
		{kindAccept, 1, nil},
		{kindData, 1, []byte("content")},
		{kindCredit, 1, []byte{0, 0, 1, 0}},
		{kindEnd, 1, nil},
		{kindReply, 1, []byte(`{"error":{"text":"x"}}`)},
		{kindRequest, 2, []byte(`{"op":"stat","path":"/"}`)},
		{kindCancel, 2, nil},
		{kindPing, 0, nil},
		{kindPong, 0, nil},
	} {
		b = f.encode(b)
	}
	return b
}

// FuzzFrame reads frames from anything: no panic, no payload beyond its bound, and what was read is
// what was sent.
func FuzzFrame(f *testing.F) {
	f.Add(exampleFrames())
	f.Add([]byte("sh: not found\n"))
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0, 0, 0, 1, byte(kindData)})
	f.Fuzz(func(t *testing.T, sent []byte) {
		r := bufio.NewReader(bytes.NewReader(sent))
		var again []byte
		for {
			got, err := readFrame(r)
			if err != nil {
				break
			}
			if len(got.payload) > got.kind.limit() {
				t.Fatalf("a payload of %d bytes of kind %d", len(got.payload), got.kind)
			}
			again = got.encode(again)
		}
		if !bytes.HasPrefix(sent, again) {
			t.Errorf("%q was read as %q", sent, again)
		}
	})
}

// FuzzClient lets a hostile agent say anything to a client with calls open.
func FuzzClient(f *testing.F) {
	f.Add(exampleFrames())
	f.Add(frame{kindReply, 1, []byte(`{"info":{"name":"x"}}`)}.encode(nil))
	f.Add(frame{kindData, 2, make([]byte, maxData)}.encode(nil))
	f.Add(frame{kindReply, 3, []byte(`{"stdout":-1}`)}.encode(nil))
	f.Fuzz(func(t *testing.T, said []byte) {
		ours, theirs := net.Pipe()
		go func() { _, _ = io.Copy(io.Discard, theirs) }()
		go func() {
			h, _ := json.Marshal(hello{Protocol: protocol})
			_, _ = io.WriteString(theirs, preamble+string(frame{kind: kindHello, payload: h}.encode(nil)))
			_, _ = theirs.Write(said)
			_ = theirs.Close()
		}()
		c, err := NewClient(t.Context(), ours)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = c.Stat(t.Context(), "/")
		_, _ = c.ReadDir(t.Context(), "/")
		if conn, err := c.Dial(t.Context(), "tcp", "x", ""); err == nil {
			_, _ = io.Copy(io.Discard, conn)
			_ = conn.Close()
		}
		<-c.Done()
	})
}

// FuzzServer lets a hostile client say anything to an agent. Its calls do nothing.
func FuzzServer(f *testing.F) {
	f.Add(exampleFrames())
	f.Add(bytes.Repeat(frame{kindRequest, 1, []byte(`{"op":"x"}`)}.encode(nil), 3))
	f.Add(append(frame{kindRequest, 1, []byte(`{"op":"write","path":"relative"}`)}.encode(nil), frame{kindData, 1, make([]byte, maxData)}.encode(nil)...))
	f.Fuzz(func(t *testing.T, said []byte) {
		ctx, cancel := context.WithCancel(t.Context())
		s := &server{readOnly: true, calls: make(map[uint32]*serverCall), pongs: make(chan struct{}, 1)}
		s.out = newSender(io.Discard, func(error) {})
		defer s.out.stop(io.ErrClosedPipe)
		s.handle = func(ctx context.Context, c *serverCall, _ request) (reply, error) {
			if c.in != nil {
				_, err := io.Copy(io.Discard, c.in.reader(ctx))
				return reply{}, err
			}
			return reply{}, nil
		}
		if err := s.receive(ctx, bufio.NewReader(bytes.NewReader(said))); err == nil {
			t.Error("the input has ended and nobody says so")
		}
		cancel()
		s.running.Wait()
	})
}
