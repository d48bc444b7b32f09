package agent

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pgrun/pgrun/runtime/host"
)

func TestGarbageInPlaceOfAnAgent(t *testing.T) {
	head := func(k kind, payload string) string {
		return preamble + string(frame{kind: k, payload: []byte(payload)}.encode(nil))
	}
	for said, why := range map[string]string{
		"":                                      "ended before it said anything",
		"sh: 1: agent: not found\n":             `no agent of pgrun; it said "sh: 1: agent: not found\n"`,
		"\x1b[2J" + strings.Repeat("x", 10_000): `"\x1b[2Jxxxx`,
		"\x00pgr":                               `it said "\x00pgr"`,
		preamble + "\xff\xff\xff\xff\x00\x00\x00\x00\x01": "what came is no frame",
		head(kindPong, ""):                 "in place of its hello",
		head(kindHello, "{"):               "the agent's hello",
		head(kindHello, `{"protocol":99}`): "version 99",
		head(kindHello, "{}")[:18]:         "hello",
	} {
		ours, theirs := net.Pipe()
		go func() {
			_, _ = io.WriteString(theirs, said)
			_ = theirs.Close()
		}()
		_, err := NewClient(t.Context(), ours)
		if err == nil || !strings.Contains(err.Error(), why) || len(err.Error()) > 1000 {
			t.Errorf("%.40q: %v, want %q", said, err, why)
		}
	}
}

func TestSilenceInPlaceOfAnAgent(t *testing.T) {
	ours, theirs := net.Pipe()
	defer theirs.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := NewClient(ctx, ours); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
}

// hostile connects to an agent that answers each request as it likes.
func hostile(t *testing.T, answer func(w io.Writer, f frame)) *Client {
	t.Helper()
	ours, theirs := net.Pipe()
	go func() {
		defer theirs.Close()
		_, _ = io.WriteString(theirs, preamble)
		_, _ = theirs.Write(frame{kind: kindHello, payload: []byte(`{"protocol":1}`)}.encode(nil))
		for r := bufio.NewReaderSize(theirs, maxData+headerSize); ; {
			f, err := readFrame(r)
			if err != nil {
				return
			}
			answer(theirs, f)
		}
	}()
	c, err := NewClient(t.Context(), ours)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func TestListWithoutEnd(t *testing.T) {
	c := hostile(t, func(w io.Writer, f frame) {
		if f.kind != kindRequest {
			return
		}
		line := []byte("{}\n")
		for range host.MaxRead / maxData {
			_, _ = w.Write(frame{kindData, f.stream, bytes.Repeat(line, maxData/len(line))}.encode(nil))
		}
		_, _ = w.Write(frame{kindReply, f.stream, []byte("{}")}.encode(nil))
	})
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err := c.ReadDir(t.Context(), "/")
	runtime.ReadMemStats(&after)
	if err == nil || !strings.Contains(err.Error(), "more than the 100000") {
		t.Errorf("%v", err)
	}
	if took := after.TotalAlloc - before.TotalAlloc; took > 20*host.MaxRead {
		t.Errorf("it took %d bytes to refuse", took)
	}
}

func TestNamesThatLeadElsewhere(t *testing.T) {
	for _, name := range []string{"", ".", "..", "a/b"} {
		c := hostile(t, func(w io.Writer, f frame) {
			if f.kind == kindRequest {
				_, _ = w.Write(frame{kindData, f.stream, fmt.Appendf(nil, "{\"Name\":%q}\n", name)}.encode(nil))
				_, _ = w.Write(frame{kindReply, f.stream, []byte("{}")}.encode(nil))
			}
		})
		if _, err := c.ReadDir(t.Context(), "/srv"); err == nil || !strings.Contains(err.Error(), "no name of a file") {
			t.Errorf("%q: %v", name, err)
		}
	}
}

func TestCancelledCallThatIsNotAnswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := hostile(t, func(w io.Writer, f frame) {
			if f.kind == kindPing {
				_, _ = w.Write(frame{kind: kindPong}.encode(nil))
			}
		})
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		for range MaxCalls {
			if _, err := c.Stat(ctx, "/"); !errors.Is(err, context.Canceled) {
				t.Fatal(err)
			}
		}
		began := time.Now()
		_, err := c.Stat(t.Context(), "/") // needs a slot
		if !errors.Is(err, ErrLost) || !strings.Contains(err.Error(), "cancelled call (stat)") || time.Since(began) > cancelLimit {
			t.Errorf("%v after %s", err, time.Since(began))
		}
		synctest.Wait()
		if len(c.slots) != 0 {
			t.Errorf("%d slots are taken", len(c.slots))
		}
	})
}
