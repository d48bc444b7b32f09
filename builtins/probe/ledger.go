package probe

import (
	"fmt"
	"maps"
	"sync"
	"time"

	starlarktime "go.starlark.net/lib/time"
	"go.starlark.net/starlark"
	"go.starlark.net/starlarkstruct"
)

// write names a write: the row that it inserts.
type write struct{ writer, number int }

// ack is an acknowledged write.
type ack struct {
	write
	server   string
	timeline string    // of the server's WAL: each promotion begins a new one, of a higher number
	begun    time.Time // when the client sent it
	at       time.Time // when the client had the acknowledgement
}

// ledger is what the clients were told. It is safe for concurrent use.
type ledger struct {
	mu       sync.Mutex
	acks     []ack       // in the order of at
	highest  map[int]int // number of each writer's last acknowledged write
	unknown  int
	longest  time.Duration // without an acknowledgement, between two of them
	longFrom time.Time     // when that began
	end      time.Time     // when the last writer stopped; zero while they write
	readings map[string]*reading
}

// reading is what the readers of one server saw.
type reading struct {
	answers             int
	stale               int // answers as a primary which lacked what had been acknowledged before the question
	staleFrom, staleTil time.Time
}

func newLedger() *ledger {
	return &ledger{highest: map[int]int{}, readings: map[string]*reading{}}
}

// acknowledge enters a write that the server has just acknowledged.
func (l *ledger) acknowledge(a ack) {
	l.mu.Lock()
	defer l.mu.Unlock()
	a.at = time.Now()
	if len(l.acks) > 0 {
		if last := l.acks[len(l.acks)-1].at; a.at.Sub(last) > l.longest {
			l.longest, l.longFrom = a.at.Sub(last), last
		}
	}
	l.acks = append(l.acks, a)
	l.highest[a.writer] = max(l.highest[a.writer], a.number)
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

// gap is the longest time without an acknowledged write, the one that goes on included, and when it began.
func (l *ledger) gap() (longest time.Duration, from time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.acks) == 0 {
		return 0, time.Time{}
	}
	end := l.end
	if end.IsZero() {
		end = time.Now()
	}
	last := l.acks[len(l.acks)-1].at
	if end.Sub(last) > l.longest {
		return end.Sub(last), last
	}
	return l.longest, l.longFrom
}

// gapIn returns the longest time without an acknowledged write, of those that ended after a time and began before another, and when
// it began. One that goes on has not ended yet.
func (l *ledger) gapIn(after, before time.Time) (longest time.Duration, from time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, a := range l.acks {
		next := time.Now()
		if i+1 < len(l.acks) {
			next = l.acks[i+1].at
		} else if !l.end.IsZero() {
			next = l.end
		}
		if next.After(after) && a.at.Before(before) && next.Sub(a.at) > longest {
			longest, from = next.Sub(a.at), a.at
		}
	}
	return longest, from
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

// overlapping returns the acknowledged writes of servers that had been replaced: another one acknowledged a write which was sent
// before the acknowledgement of these had come, and which is on a later timeline, or on the same. There must be none: both took writes
// at once.
func (l *ledger) overlapping() []ack {
	type place struct{ server, timeline string }
	l.mu.Lock()
	defer l.mu.Unlock()
	began := map[place]time.Time{}
	for _, a := range l.acks {
		p := place{a.server, a.timeline}
		if first, ok := began[p]; !ok || a.begun.Before(first) {
			began[p] = a.begun
		}
	}
	var found []ack
	for _, a := range l.acks {
		for p, first := range began {
			if p.server != a.server && p.timeline >= a.timeline && first.Before(a.at) {
				found = append(found, a)
				break
			}
		}
	}
	return found
}

// acknowledgedSoFar is the number of each writer's last acknowledged write.
func (l *ledger) acknowledgedSoFar() map[int]int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return maps.Clone(l.highest)
}

// read enters what a server answered to a question which was asked when everything in acknowledged had been: the number of each
// writer's last write. Of a standby it may be less.
func (l *ledger) read(server string, standby bool, numbers, acknowledged map[int]int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := l.reading(server)
	r.answers++
	if standby {
		return
	}
	for writer, number := range acknowledged {
		if numbers[writer] < number {
			r.stale++
			r.staleTil = time.Now()
			if r.stale == 1 {
				r.staleFrom = r.staleTil
			}
			return
		}
	}
}

func (l *ledger) reading(server string) *reading {
	if l.readings[server] == nil {
		l.readings[server] = &reading{}
	}
	return l.readings[server]
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
	return []string{"acknowledged", "first_write", "gap", "gap_in", "indeterminate"}
}

// Attr tells what the writers have seen so far.
func (h handle) Attr(name string) (starlark.Value, error) {
	switch name {
	case "acknowledged":
		return starlark.MakeInt(h.acknowledged()), nil
	case "indeterminate":
		return starlark.MakeInt(h.indeterminate()), nil
	case "gap":
		gap, _ := h.gap()
		return starlarktime.Duration(gap), nil
	case "first_write":
		return starlark.NewBuiltin(name, h.firstWrite), nil
	case "gap_in":
		return starlark.NewBuiltin(name, h.gapInWindow), nil
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

func (h handle) gapInWindow(_ *starlark.Thread, f *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	var after, before starlarktime.Time
	if err := starlark.UnpackArgs(f.Name(), args, kwargs, "after", &after, "before", &before); err != nil {
		return nil, err
	}
	gap, from := h.gapIn(time.Time(after), time.Time(before))
	return starlarkstruct.FromStringDict(starlark.String("gap"), starlark.StringDict{"took": starlarktime.Duration(gap), "began": moment(from)}), nil
}
