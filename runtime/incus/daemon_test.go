package incus

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/lxc/incus/v6/shared/api"
)

// fakeDaemon serves requests in the place of a daemon that misbehaves, and is connected to without one.
func fakeDaemon(t *testing.T, serve http.HandlerFunc) *Server {
	t.Helper()
	path := filepath.Join(t.TempDir(), "unix.socket")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	daemon := &http.Server{Handler: serve}
	go func() { _ = daemon.Serve(l) }()
	t.Cleanup(func() { _ = daemon.Close() })
	t.Setenv("INCUS_SOCKET", path)
	s := &Server{name: "local", agent: echoAgent}
	s.instances.lock = make(chan struct{}, 1)
	if err := s.connect(""); err != nil {
		t.Fatal(err)
	}
	return s
}

// say answers a request.
func say(w http.ResponseWriter, status int, kind api.ResponseType, metadata any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(api.ResponseRaw{Type: kind, Code: status, Error: http.StatusText(status), Metadata: metadata})
}

// hang leaves a request without an answer.
func hang(r *http.Request) { <-r.Context().Done() }

// cancelled cancels a context once a request has come, and checks that the call ends with it.
func cancelled(t *testing.T, came <-chan struct{}, call func(ctx context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- call(ctx) }()
	<-came
	cancel()
	select {
	case err := <-ended:
		if !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
	case <-time.After(time.Second):
		t.Error("it is deaf to its context")
	}
}

// TestDaemonThatHangs cancels calls at requests that are not answered.
func TestDaemonThatHangs(t *testing.T) {
	running := []api.Instance{{Name: "web", Status: "Running", Type: "container"}}
	running[0].Architecture = "x86_64"
	t.Run("the upload of an image", func(t *testing.T) {
		came := make(chan struct{})
		s := fakeDaemon(t, func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodGet {
				say(w, http.StatusNotFound, api.ErrorResponse, nil)
				return
			}
			close(came)
			hang(r)
		})
		files := ImageFiles{Metadata: filepath.Join(t.TempDir(), "image.tar")}
		writeImage(t, files.Metadata, "never to arrive")
		cancelled(t, came, func(ctx context.Context) error {
			_, err := s.ImportImage(ctx, files, "")
			return err
		})
	})
	t.Run("the start of an agent", func(t *testing.T) {
		came := make(chan struct{})
		s := fakeDaemon(t, func(w http.ResponseWriter, r *http.Request) {
			switch {
			case r.URL.Path == "/1.0/instances":
				say(w, http.StatusOK, api.SyncResponse, running)
			case r.Method == http.MethodPost:
				close(came)
				hang(r)
			default:
				hang(r)
			}
		})
		cancelled(t, came, func(ctx context.Context) error {
			_, err := s.Transport("web").Open(ctx, true)
			return err
		})
	})
	t.Run("the websockets of an agent", func(t *testing.T) {
		came := make(chan struct{}, 4)
		s := fakeDaemon(t, func(w http.ResponseWriter, r *http.Request) {
			switch {
			case r.URL.Path == "/1.0/instances":
				say(w, http.StatusOK, api.SyncResponse, running)
			case r.Method == http.MethodPost:
				say(w, http.StatusAccepted, api.AsyncResponse, api.Operation{ID: "1", Metadata: map[string]any{"fds": map[string]any{}}})
			case strings.HasSuffix(r.URL.Path, "/websocket"):
				came <- struct{}{}
				hang(r)
			default:
				hang(r)
			}
		})
		cancelled(t, came, func(ctx context.Context) error {
			_, err := s.Transport("web").Open(ctx, true)
			return err
		})
	})
}

// TestDropWhileListing forgets a list that is being fetched: it may be from before what was changed.
func TestDropWhileListing(t *testing.T) {
	requests, answer := make(chan struct{}, 2), make(chan struct{})
	s := fakeDaemon(t, func(w http.ResponseWriter, _ *http.Request) {
		requests <- struct{}{}
		<-answer
		say(w, http.StatusOK, api.SyncResponse, []api.Instance{})
	})
	list := func() {
		if _, err := s.Instances(t.Context()); err != nil {
			t.Error(err)
		}
	}
	listed := make(chan struct{})
	go func() { defer close(listed); list() }()
	<-requests
	s.instances.drop() // and does not wait
	close(answer)
	<-listed
	list()
	if len(requests) != 1 {
		t.Error("the list is from before it was dropped")
	}
	list()
	if len(requests) != 1 {
		t.Error("the list is not kept")
	}
}
