package incus

import (
	"context"
	"encoding/json"
	"iter"
	"net/url"
	"strings"
	"time"

	"github.com/gorilla/websocket"
	"github.com/lxc/incus/v6/shared/api"

	"github.com/pgrun/pgrun/runtime/host"
)

// Event is something that happened to an instance, a network, ...
type Event struct {
	At     time.Time
	Action string // "instance-started", "instance-shutdown", ...
	Name   string // of what it happened to
	Member string // of the cluster
}

// Watch yields the project's lifecycle events until ctx ends. They come after the fact, not always
// in the order of At. An error says that the link was lost, and with it perhaps events; Watch then
// connects again.
//
// The client's own listener starts a goroutine per event, which loses their order, and lingers on.
func (s *Server) Watch(ctx context.Context) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		path := "/events?" + url.Values{"type": {"lifecycle"}, "project": {s.projectName()}}.Encode()
		for {
			conn, err := s.client(ctx).RawWebsocket(path)
			if err == nil {
				stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
				var more bool
				more, err = each(conn, yield)
				stop()
				_ = conn.Close()
				if !more {
					return
				}
			}
			if ctx.Err() != nil || !yield(Event{}, s.explain(ctx, "watch events", err)) || host.Pause(ctx, time.Second) != nil {
				return
			}
		}
	}
}

// each yields the events of one connection until it breaks, or no more are wanted.
func each(conn *websocket.Conn, yield func(Event, error) bool) (more bool, err error) {
	for {
		_, data, err := conn.ReadMessage()
		if err != nil {
			return true, err
		}
		var event api.Event
		var lifecycle api.EventLifecycle
		if json.Unmarshal(data, &event) != nil || json.Unmarshal(event.Metadata, &lifecycle) != nil {
			continue
		}
		name := lifecycle.Name
		if name == "" { // daemons of old give the path only
			name = lifecycle.Source[strings.LastIndex(lifecycle.Source, "/")+1:]
		}
		if !yield(Event{event.Timestamp, lifecycle.Action, name, event.Location}, nil) {
			return false, nil
		}
	}
}
