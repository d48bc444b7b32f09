package incus

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestLookAgain has a daemon that leaves requests without an answer.
func TestLookAgain(t *testing.T) {
	for _, test := range []struct {
		name   string
		silent int           // requests that get none
		within time.Duration // the deadline of whoever asks; 0 is none
		took   time.Duration
		wants  string // an error; empty is none
		is     error
		asks   int // requests that are made
	}{
		{"answers", 0, 0, 0, "", nil, 1},
		{"is busy", 1, 0, 15 * time.Second, "", nil, 2},
		{"is busy, and there is much time", 1, time.Hour, 15 * time.Second, "", nil, 2},
		{"hangs", 9, 0, 30 * time.Second, "look at instance \"web\" on Incus (local): no answer within 30s, to two requests: the daemon is busy, or hangs: try again", nil, 2},
		{"hangs, and there is much time", 9, time.Hour, 30 * time.Second, "the daemon is busy", nil, 2},
		{"hangs, and there is little time", 9, 5 * time.Second, 5 * time.Second, "", context.DeadlineExceeded, 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &Server{name: "local"}
				if err := s.connect(""); err != nil {
					t.Fatal(err)
				}
				asked := 0
				s.http.DialContext = func(context.Context, string, string) (net.Conn, error) {
					here, there := net.Pipe()
					asked++
					go answer(there, asked > test.silent)
					return here, nil
				}
				ctx := t.Context()
				if test.within > 0 {
					var cancel context.CancelFunc
					ctx, cancel = context.WithTimeout(ctx, test.within)
					defer cancel()
				}
				began := time.Now()
				got, err := s.Instance(ctx, "web")
				if took := time.Since(began); took != test.took || asked != test.asks {
					t.Errorf("%d requests in %s, want %d in %s", asked, took, test.asks, test.took)
				}
				switch {
				case test.is != nil && !errors.Is(err, test.is), test.wants != "" && (err == nil || !strings.Contains(err.Error(), test.wants)):
					t.Errorf("error %v", err)
				case test.is == nil && test.wants == "" && (err != nil || got.Name != "web"):
					t.Errorf("%v, %v", got, err)
				}
				s.Close()
			})
		})
	}
}

// answer serves one connection: it reads a request, and answers with an instance or not at all.
func answer(conn net.Conn, speaks bool) {
	defer conn.Close()
	in := bufio.NewReader(conn)
	if _, err := http.ReadRequest(in); err != nil {
		return
	}
	if speaks {
		const body = `{"type": "sync", "status_code": 200, "metadata": {"name": "web"}}`
		response := http.Response{StatusCode: http.StatusOK, ProtoMajor: 1, ProtoMinor: 1, Header: http.Header{"Content-Type": {"application/json"}},
			Body: io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body))}
		_ = response.Write(conn)
		return
	}
	_, _ = in.ReadByte() // until the other side gives up
}
