package probe

import (
	"fmt"
	"sync"
	"time"

	starlarktime "go.starlark.net/lib/time"
	"go.starlark.net/starlark"
)

// write names a write: the row that it inserts.
type write struct{ writer, number int }

// ack is an acknowledged write.
type ack struct {
	write
	server string
	at     time.Time // when the client had the acknowledgement
}

// ledger is what the writers were told. It is safe for concurrent use.
type ledger struct {
	mu      sync.Mutex
	acks    []ack // in the order of at
	unknown int
	longest time.Duration // without an acknowledgement, between two of them
	end     time.Time     // when the last writer stopped; zero while they write
}

func newLedger() *ledger { return &ledger{} }

// acknowledge enters a write that the server has just acknowledged.
func (l *ledger) acknowledge(w write, server string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	if len(l.acks) > 0 {
		l.longest = max(l.longest, now.Sub(l.acks[len(l.acks)-1].at))
	}
	l.acks = append(l.acks, ack{w, server, now})
}

// doubt enters a write of which nobody knows whether it took effect.
func (l *ledger) doubt() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.unknown++
}

// close says that no more writes are to come.
func (l *ledger) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.end = time.Now()
}

func (l *ledger) acknowledged() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.acks)
}

func (l *ledger) indeterminate() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.unknown
}

// gap is the longest time without an acknowledged write, the one that goes on included.
func (l *ledger) gap() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.acks) == 0 {
		return 0
	}
	end := l.end
	if end.IsZero() {
		end = time.Now()
	}
	return max(l.longest, end.Sub(l.acks[len(l.acks)-1].at))
}

// first returns the first write after a time that a server acknowledged, any but the one named besides.
func (l *ledger) first(besides string, after time.Time) (ack, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, a := range l.acks {
		if a.server != besides && a.at.After(after) {
			return a, true
		}
	}
	return ack{}, false
}

// missing returns the acknowledged writes that are not among those found.
func (l *ledger) missing(found map[write]bool) []ack {
	l.mu.Lock()
	defer l.mu.Unlock()
	var lost []ack
	for _, a := range l.acks {
		if !found[a.write] {
			lost = append(lost, a)
		}
	}
	return lost
}

// handle is the ledger as the script's function sees it while the clients write.
type handle struct{ *ledger }

var _ starlark.HasAttrs = handle{}

func (h handle) String() string {
	return fmt.Sprintf("writes(acknowledged = %d, indeterminate = %d)", h.acknowledged(), h.indeterminate())
}
func (h handle) Type() string          { return "writes" }
func (h handle) Freeze()               {}
func (h handle) Truth() starlark.Bool  { return true }
func (h handle) Hash() (uint32, error) { return 0, fmt.Errorf("unhashable: %s", h.Type()) }
func (h handle) AttrNames() []string {
	return []string{"acknowledged", "first_write", "gap", "indeterminate"}
}

// Attr tells what the writers have seen so far.
func (h handle) Attr(name string) (starlark.Value, error) {
	switch name {
	case "acknowledged":
		return starlark.MakeInt(h.acknowledged()), nil
	case "indeterminate":
		return starlark.MakeInt(h.indeterminate()), nil
	case "gap":
		return starlarktime.Duration(h.gap()), nil
	case "first_write":
		return starlark.NewBuiltin(name, h.firstWrite), nil
	}
	return nil, nil
}

func (h handle) firstWrite(_ *starlark.Thread, f *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	var besides string
	var after starlarktime.Time
	if err := starlark.UnpackArgs(f.Name(), args, kwargs, "besides?", &besides, "after?", &after); err != nil {
		return nil, err
	}
	if a, ok := h.first(besides, time.Time(after)); ok {
		return starlarktime.Time(a.at), nil
	}
	return starlark.None, nil
}
