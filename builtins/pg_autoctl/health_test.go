package pgautoctl

import (
	"errors"
	"io/fs"
	"strings"
	"testing"
	"time"

	"github.com/pgrun/pgrun/runtime/host"
)

// pair is a healthy formation of two nodes, with what their servers say.
func pair() (formation, map[string]answer) {
	node := func(id int64, name, state string) Node {
		return Node{ID: id, Name: name, ReportedState: state, AssignedState: state, Health: 1, ReportAge: time.Second, PGRunning: true, ReplicationQuorum: true}
	}
	f := formation{Name: "default", Nodes: []Node{node(1, "a", "primary"), node(7, "b", "secondary")}}
	f.Nodes[0].SyncState = "quorum"
	return f, map[string]answer{
		"a": {member: member{SyncNames: "ANY 1 (pgautofailover_standby_7)", Replicas: map[string]replica{"pgautofailover_standby_7": {"streaming", "quorum"}}}},
		"b": {member: member{InRecovery: true}},
	}
}

func TestHealth(t *testing.T) {
	cases := []struct {
		name  string
		spoil func(f *formation, a map[string]answer)
		want  []string // in this order; none: healthy
	}{
		{name: "healthy", spoil: func(*formation, map[string]answer) {}},
		{name: "servers not asked", spoil: func(_ *formation, a map[string]answer) { clear(a) }},
		{name: "alone", spoil: func(f *formation, a map[string]answer) {
			f.Nodes = f.Nodes[:1]
			f.Nodes[0].ReportedState, f.Nodes[0].AssignedState, f.Nodes[0].SyncState = "single", "single", ""
			delete(a, "b")
			a["a"] = answer{}
		}},
		{name: "no nodes", spoil: func(f *formation, a map[string]answer) { f.Nodes = nil; clear(a) }, want: []string{"no data node"}},
		{name: "standby on its way", spoil: func(f *formation, _ map[string]answer) { f.Nodes[1].AssignedState = "catchingup" }, want: []string{"b is secondary, to become catchingup"}},
		{name: "waiting for a standby", spoil: func(f *formation, _ map[string]answer) {
			f.Nodes[0].ReportedState, f.Nodes[0].AssignedState = "wait_primary", "wait_primary"
		}, want: []string{"a is wait_primary, not primary"}},
		{name: "in a failover", spoil: func(f *formation, a map[string]answer) {
			f.Nodes[0].AssignedState, f.Nodes[1].AssignedState = "draining", "prepare_promotion"
			clear(a)
		}, want: []string{"not exactly one primary", "a is primary, to become draining", "b is secondary, to become prepare_promotion"}},
		{name: "bad health", spoil: func(f *formation, _ map[string]answer) { f.Nodes[1].Health = 0 }, want: []string{"b fails the monitor's health check"}},
		{name: "health not known", spoil: func(f *formation, _ map[string]answer) { f.Nodes[1].Health = -1 }, want: []string{"b fails the monitor's health check, or has not"}},
		{name: "silent", spoil: func(f *formation, _ map[string]answer) { f.Nodes[1].ReportAge = 5 * time.Second }, want: []string{"b reported last 5s ago"}},
		{name: "down", spoil: func(f *formation, _ map[string]answer) { f.Nodes[1].PGRunning = false }, want: []string{"b reports that its PostgreSQL does not run"}},
		{name: "the keeper sees no synchronous standby", spoil: func(f *formation, _ map[string]answer) { f.Nodes[0].SyncState = "async" }, want: []string{"a reports no synchronous standby (async)"}},
		{name: "stopped an instant ago", spoil: func(_ *formation, a map[string]answer) {
			a["b"] = answer{err: &host.Unreachable{Host: "b", Err: errors.New("it is stopped")}}
		}, want: []string{"b does not answer: b cannot be reached: it is stopped"}},
		{name: "no server", spoil: func(_ *formation, a map[string]answer) { a["b"] = answer{err: fs.ErrNotExist} }, want: []string{"b does not answer: no PostgreSQL runs there"}},
		{name: "asynchronous", spoil: func(_ *formation, a map[string]answer) {
			a["a"] = answer{member: member{Replicas: map[string]replica{"pgautofailover_standby_7": {"streaming", "async"}}}}
		}, want: []string{"a commits without waiting", "b is async to a"}},
		{name: "catching up", spoil: func(_ *formation, a map[string]answer) {
			a["a"].Replicas["pgautofailover_standby_7"] = replica{"catchup", "quorum"}
		}, want: []string{"b is in catchup of its stream"}},
		{name: "not streaming", spoil: func(_ *formation, a map[string]answer) { clear(a["a"].Replicas) }, want: []string{"b does not stream from a"}},
		{name: "read-only primary", spoil: func(_ *formation, a map[string]answer) {
			x := a["a"]
			x.ReadOnly = true
			a["a"] = x
		}, want: []string{"a is the primary, and its sessions are read-only"}},
		{name: "two that take writes", spoil: func(_ *formation, a map[string]answer) { a["b"] = answer{} }, want: []string{"b is not the primary, and not in recovery"}},
		{name: "a host that is no node", spoil: func(_ *formation, a map[string]answer) { a["c"] = answer{} }, want: []string{"c is not registered"}},
		{name: "the primary not asked", spoil: func(_ *formation, a map[string]answer) { delete(a, "a") }, want: []string{"a is the primary, and not among the hosts"}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			f, answers := pair()
			c.spoil(&f, answers)
			got := append(f.problemsOnHosts(answers), f.problems(5*time.Second)...)
			if len(got) != len(c.want) {
				t.Fatalf("got %q, want %q", got, c.want)
			}
			for i := range got {
				if !strings.Contains(got[i], c.want[i]) {
					t.Errorf("got %q, want %q", got[i], c.want[i])
				}
			}
		})
	}
}

// While a formation fails over, it has no primary: the one that is dead or stopping takes no more writes, and the
// other none yet.
func TestPrimary(t *testing.T) {
	for _, c := range []struct{ a, aGoal, b, bGoal, want string }{
		{"primary", "primary", "secondary", "secondary", "a"},
		{"primary", "apply_settings", "secondary", "secondary", "a"},
		{"primary", "draining", "secondary", "prepare_promotion", ""},
		{"primary", "demote_timeout", "prepare_promotion", "stop_replication", ""},
		{"primary", "demote_timeout", "stop_replication", "wait_primary", ""},
		{"primary", "demoted", "wait_primary", "wait_primary", "b"},
		{"catchingup", "secondary", "wait_primary", "primary", "b"},
		{"primary", "primary", "single", "single", ""}, // two
	} {
		f := formation{Nodes: []Node{{Name: "a", ReportedState: c.a, AssignedState: c.aGoal}, {ID: 1, Name: "b", ReportedState: c.b, AssignedState: c.bGoal}}}
		if got := primaryName(f.primary()); got != c.want {
			t.Errorf("%+v: got %q", c, got)
		}
	}
}
