package probe

import (
	"slices"
	"testing"
	"time"
)

// at is a time of these tests, in milliseconds.
func at(ms int) time.Time { return time.Unix(0, 0).Add(time.Duration(ms) * time.Millisecond) }

func TestOverlapping(t *testing.T) {
	a := func(server, timeline string, number, begun, ended int) ack {
		return ack{write: write{1, number}, server: server, timeline: timeline, begun: at(begun), at: at(ended)}
	}
	for _, x := range []struct {
		name string
		acks []ack
		want []int // numbers
	}{
		{"one primary", []ack{a("a", "1", 1, 0, 5), a("a", "1", 2, 5, 9)}, nil},
		{"a failover", []ack{a("a", "1", 1, 0, 5), a("b", "2", 2, 6, 9), a("b", "2", 3, 9, 12)}, nil},
		{"there and back", []ack{a("a", "1", 1, 0, 5), a("b", "2", 2, 6, 9), a("a", "3", 3, 10, 12)}, nil},
		{"the old one goes on", []ack{a("a", "1", 1, 0, 5), a("b", "2", 2, 6, 9), a("a", "1", 3, 10, 12)}, []int{3}},
		{"its acknowledgement comes late", []ack{a("b", "2", 2, 6, 9), a("a", "1", 1, 0, 7)}, []int{1}},
		{"both on one timeline", []ack{a("a", "1", 1, 0, 5), a("b", "1", 2, 6, 9), a("a", "1", 3, 10, 12)}, []int{2, 3}},
	} {
		l := newLedger()
		l.acks = x.acks
		var got []int
		for _, o := range l.overlapping() {
			got = append(got, o.number)
		}
		if !slices.Equal(got, x.want) {
			t.Errorf("%s: got %v, want %v", x.name, got, x.want)
		}
	}
}

func TestStaleReads(t *testing.T) {
	l := newLedger()
	acknowledged := map[int]int{1: 7, 2: 3}
	l.read("a", false, map[int]int{1: 7, 2: 4}, acknowledged)
	l.read("a", true, map[int]int{1: 1}, acknowledged) // a standby may be behind
	l.read("a", false, map[int]int{1: 6, 2: 4}, acknowledged)
	l.read("a", false, map[int]int{1: 7}, acknowledged)
	if r := l.reading("a"); r.answers != 4 || r.stale != 2 || r.staleFrom.IsZero() || r.staleTil.Before(r.staleFrom) {
		t.Errorf("got %+v", *r)
	}
}

func TestGapIn(t *testing.T) {
	l := newLedger()
	for _, ms := range []int{0, 10, 500, 510, 2000} {
		l.acks = append(l.acks, ack{at: at(ms)})
	}
	l.end = at(9000)
	for _, x := range []struct{ after, before, took, began int }{
		{5, 600, 1490, 510}, {5, 505, 490, 10}, {600, 1000, 1490, 510}, {1, 8, 10, 0}, {3000, 4000, 7000, 2000},
	} {
		if took, began := l.gapIn(at(x.after), at(x.before)); took != at(x.took).Sub(at(0)) || !began.Equal(at(x.began)) {
			t.Errorf("between %d and %d: %s from %s", x.after, x.before, took, began)
		}
	}
}
