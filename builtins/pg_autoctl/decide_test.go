package pgautoctl

import (
	"reflect"
	"strings"
	"testing"
	"time"
)

// what lists the parts of a todo in a word each.
func what(t todo) string {
	var words []string
	for _, part := range []struct {
		yes  bool
		word string
	}{
		{t.Wait, "wait"}, {t.RemoveState, "remove-state"}, {t.Outlive != nil, "outlive"}, {t.Forget != nil, "forget"}, {t.ForgetNow, "now"},
		{t.RemoveData, "remove-data"}, {t.Initdb, "initdb"}, {t.Create, "create"}, {t.First, "first"},
	} {
		if part.yes {
			words = append(words, part.word)
		}
	}
	return strings.Join(words, " ")
}

func TestDecide(t *testing.T) {
	self := func(reported, assigned string) *Node {
		return &Node{ID: 2, Name: "b", ReportedState: reported, AssignedState: assigned}
	}
	const monitor = "postgresql://autoctl_node@198.18.0.60:5432/pg_auto_failover?sslmode=verify-full"
	primary := []Node{{ID: 1, Name: "a", ReportedState: "primary", AssignedState: "primary"}}
	cases := []struct {
		name string
		s    situation
		want string
		err  string
	}{
		{name: "an earlier run's creation goes on", s: situation{Creating: true, State: true, Init: true}, want: "wait"},
		{name: "done", s: situation{State: true, Data: usedCluster, Monitor: monitor, Self: self("secondary", "secondary"), Others: primary}},
		{name: "done, and in the middle of something", s: situation{State: true, Data: usedCluster, Monitor: monitor, Self: self("catchingup", "secondary"), Others: primary}},
		{name: "done, with the monitor at another address", s: situation{State: true, Data: usedCluster, Monitor: strings.Replace(monitor, ".60", ".61", 1), Self: self("secondary", "secondary"), Others: primary},
			err: "198.18.0.61:5432, and it is to be at 198.18.0.60:5432"},
		{name: "done, with the monitor at another port", s: situation{State: true, Data: usedCluster, Monitor: strings.Replace(monitor, ":5432", ":6000", 1), Self: self("single", "single")}, err: "198.18.0.60:6000"},
		{name: "done, its data gone", s: situation{State: true, Data: noCluster, Monitor: monitor, Self: self("secondary", "catchingup"), Others: primary}, want: "remove-state outlive forget create"},
		{name: "done, its data gone for the moment", s: situation{State: true, Data: noCluster, Running: true, Monitor: monitor, Self: self("demoted", "catchingup"), Others: primary}},
		{name: "done, its data gone, and the only one", s: situation{State: true, Data: noCluster, Monitor: monitor, Self: self("single", "single")}, err: "pg_autoctl.drop"},
		{name: "done, its registration cut off", s: situation{State: true, Data: usedCluster, Monitor: monitorDisabled, Self: self("secondary", "secondary"), Others: primary}, err: "pg_autoctl.register"},
		{name: "dropped, or a new monitor", s: situation{State: true, Monitor: monitor, Others: primary}, err: "systemctl start pg_autoctl.service"},
		{name: "first, cut off before its registration", s: situation{State: true, Init: true, Data: newCluster}, want: "remove-state create first"},
		{name: "a new monitor without nodes", s: situation{State: true, Data: usedCluster}, err: "pg_autoctl.register"},

		{name: "first, from nothing", want: "initdb create first"},
		{name: "first, cut off after initdb", s: situation{Data: newCluster}, want: "create first"},
		{name: "first, with a cluster that was there", s: situation{Data: usedCluster}, want: "create first"},
		{name: "first, cut off after its registration", s: situation{Data: newCluster, Self: self("init", "single")}, want: "forget now create first"},
		{name: "first, cut off before single", s: situation{State: true, Init: true, Data: usedCluster, Self: self("init", "single")}, want: "create first"},
		{name: "first, without its state file", s: situation{Data: usedCluster, Self: self("single", "single")}, want: "forget now create first"},
		{name: "first, its data lost", s: situation{Self: self("single", "single")}, err: "pg_autoctl.drop"},
		{name: "first, its data lost on its way to single", s: situation{Self: self("primary", "single")}, err: "which is primary, to become single"},
		{name: "first, its data lost while it waited", s: situation{Self: self("wait_primary", "wait_primary")}, err: "pg_autoctl.drop"},
		{name: "first, its data lost, and begun anew by somebody", s: situation{Data: newCluster, Self: self("single", "single")}, err: "pg_autoctl.drop"},
		{name: "first, its data lost and not its state", s: situation{State: true, Init: true, Self: self("single", "single")}, err: "pg_autoctl.drop"},
		{name: "first, its data lost before it had any", s: situation{Self: self("init", "single")}, want: "forget now initdb create first"},

		{name: "joins, from nothing", s: situation{Others: primary}, want: "create"},
		{name: "joins, with a cluster of its own that no server ran in", s: situation{Data: newCluster, Others: primary}, want: "remove-data create"},
		{name: "joins, with a cluster that was in use", s: situation{Data: usedCluster, Others: primary}, err: "move it away"},
		{name: "joins, cut off in its base backup", s: situation{State: true, Init: true, Self: self("wait_standby", "catchingup"), Others: primary}, want: "create"},
		{name: "first, cut off before its registration, with nothing", s: situation{State: true, Init: true}, want: "remove-state initdb create first"},
		{name: "first, cut off as its registration was not committed", s: situation{Init: true, Data: newCluster}, want: "remove-state create first"},
		{name: "first, cut off as that was", s: situation{Init: true, Data: newCluster, Self: self("init", "single")}, want: "remove-state forget now create first"},
		{name: "first, cut off so, its data lost", s: situation{Init: true, Self: self("single", "single")}, err: "pg_autoctl.drop"},
		{name: "joins, cut off as its registration was not committed", s: situation{Init: true, Others: primary}, want: "remove-state create"},
		{name: "joins, cut off as that was", s: situation{Init: true, Self: self("init", "wait_standby"), Others: primary}, want: "remove-state outlive forget create"},
		{name: "joins, cut off with a cluster that was in use", s: situation{State: true, Init: true, Data: usedCluster, Others: primary}, err: "move it away"},
		{name: "joins, cut off before its registration, or with another monitor", s: situation{State: true, Init: true, Others: primary}, want: "remove-state create"},
		{name: "joins, cut off between registration and state file", s: situation{Self: self("init", "wait_standby"), Others: primary}, want: "outlive forget create"},

		{name: "a lost standby", s: situation{Self: self("secondary", "catchingup"), Others: primary}, want: "outlive forget create"},
		{name: "a lost standby with a new cluster", s: situation{Data: newCluster, Self: self("secondary", "secondary"), Others: primary}, want: "outlive forget remove-data create"},
		{name: "a standby without its state file", s: situation{Data: usedCluster, Self: self("secondary", "secondary"), Others: primary}, err: "bring the state file back"},

		{name: "somebody else's files", s: situation{Data: otherContent}, err: "no PostgreSQL cluster"},
		{name: "somebody else's files in place of a standby's", s: situation{Data: otherContent, Self: self("secondary", "secondary"), Others: primary}, err: "no PostgreSQL cluster"},
	}
	p := nodeParams{Name: "b", Formation: "default"}
	p.PGData, p.Service, p.MonitorHostname, p.MonitorPort = "/var/lib/postgresql/node", "pg_autoctl.service", "198.18.0.60", 5432
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			got, err := p.decide(c.s)
			switch {
			case c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)):
				t.Errorf("got %q, %v; want an error with %q", what(got), err, c.err)
			case c.err == "" && err != nil:
				t.Errorf("got an error: %v; want %q", err, c.want)
			case c.err == "" && what(got) != c.want:
				t.Errorf("got %q, want %q", what(got), c.want)
			}
			if got.Initdb && c.s.Data != noCluster || got.RemoveData && c.s.Data != newCluster {
				t.Errorf("%q would take the place of data", what(got))
			}
		})
	}
}

// What was decided is not done any more once another run has gone ahead.
func TestStands(t *testing.T) {
	p := nodeParams{Name: "b", Formation: "default"}
	p.PGData = "/var/lib/postgresql/node"
	others := []Node{{Name: "a", ReportedState: "primary", AssignedState: "primary"}}
	cutOff := situation{State: true, Init: true, Others: others}
	begun := &Node{ID: 3, Name: "b", ReportedState: "init", AssignedState: "wait_standby"}
	lost := situation{Self: &Node{ID: 2, Name: "b", ReportedState: "secondary", AssignedState: "catchingup"}, Others: others}
	for _, c := range []struct {
		name   string
		before situation
		change func(now *situation)
		stands bool
	}{
		{"nothing", cutOff, func(*situation) {}, true},
		{"it is being created", cutOff, func(now *situation) { now.Creating = true }, false},
		{"it has been registered", cutOff, func(now *situation) { now.Self = begun }, false},
		{"it has been registered, before its init file was looked for", cutOff, func(now *situation) { now.Init, now.Self = false, begun }, false},
		{"it has been created", cutOff, func(now *situation) { now.Init, now.Self, now.Data = false, begun, usedCluster }, false},
		{"it got a cluster", cutOff, func(now *situation) { now.Data = newCluster }, false},
		{"it would be the first", cutOff, func(now *situation) { now.Others = nil }, false},
		{"nothing of a lost node", lost, func(*situation) {}, true},
		{"a lost node is being created", lost, func(now *situation) { now.Creating = true }, false},
		{"a lost node has another row", lost, func(now *situation) { now.Self = begun }, false},
		{"a lost node has no row", lost, func(now *situation) { now.Self = nil }, false},
	} {
		decided, err := p.decide(c.before)
		if err != nil {
			t.Fatal(err)
		}
		now := c.before
		c.change(&now)
		if err := p.stands(decided, layout{"/var/lib/postgresql", p.PGData}, now); (err == nil) != c.stands {
			t.Errorf("%s: got %v", c.name, err)
		}
	}
}

// A dry run says all that a run will do: each field of a todo shows in the summary.
func TestSummary(t *testing.T) {
	p := nodeParams{Name: "b"}
	p.PGData = "/var/lib/postgresql/node"
	files := layout{"/var/lib/postgresql", p.PGData}
	summary := func(t todo) string { return strings.Join(p.summary(t, files), "\n") }

	var all todo
	fields := reflect.ValueOf(&all).Elem()
	for _, f := range fields.Fields() {
		switch f.Kind() {
		case reflect.Bool:
			f.SetBool(true)
		default:
			f.Set(reflect.ValueOf(&Node{ID: 2, Name: "b"}))
		}
	}
	for field := range fields.Fields() {
		less := all
		reflect.ValueOf(&less).Elem().FieldByIndex(field.Index).SetZero()
		if summary(less) == summary(all) {
			t.Errorf("%s does not show in:\n%s", field.Name, summary(all))
		}
	}
	for _, removed := range append(files.ofCreation(), files.settings(), files.backup(2), p.PGData, p.workshop()) {
		if !strings.Contains(summary(all), "remove") || !strings.Contains(summary(all), removed) {
			t.Errorf("the removal of %s does not show in:\n%s", removed, summary(all))
		}
	}
	if got := summary(todo{}); got != "" {
		t.Errorf("nothing to do, and the summary is %q", got)
	}
}

// A node that may live on elsewhere, or be the only one with the data, is not taken for lost.
func TestGone(t *testing.T) {
	old := time.Minute
	cases := []struct {
		name   string
		self   Node
		others []Node
		want   string
	}{
		{"a standby that is silent", Node{ReportedState: "secondary", AssignedState: "secondary", ReportAge: old}, []Node{{ReportedState: "primary", AssignedState: "primary", Health: 1}}, ""},
		{"a standby that is down", Node{ReportedState: "secondary", AssignedState: "secondary", Health: 0, ReportAge: time.Second}, []Node{{ReportedState: "primary", AssignedState: "primary", Health: 1}}, ""},
		{"a standby that lives", Node{ReportedState: "secondary", AssignedState: "secondary", Health: 1, ReportAge: time.Second}, []Node{{ReportedState: "primary", AssignedState: "primary", Health: 1}}, "another machine"},
		{"a registration that was cut off", Node{ReportedState: "init", AssignedState: "wait_standby", Health: -1, ReportAge: time.Second}, []Node{{ReportedState: "single", AssignedState: "single", Health: 1}}, ""},
		{"the primary, its successor still to come", Node{ReportedState: "primary", AssignedState: "draining", ReportAge: old}, []Node{{ReportedState: "secondary", AssignedState: "prepare_promotion"}}, "no other node"},
		{"the primary, succeeded", Node{ReportedState: "primary", AssignedState: "demoted", ReportAge: old}, []Node{{ReportedState: "wait_primary", AssignedState: "wait_primary", Health: 1}}, ""},
		{"the primary, whose successor is gone, too", Node{ReportedState: "primary", AssignedState: "demoted", ReportAge: old}, []Node{{Name: "db-2", ReportedState: "wait_primary", AssignedState: "wait_primary", Health: 1, ReportAge: old}}, "db-2, the primary, has not reported for 1m0s"},
		{"the primary, whose successor does not answer", Node{ReportedState: "primary", AssignedState: "demoted", ReportAge: old}, []Node{{Name: "db-2", ReportedState: "wait_primary", AssignedState: "wait_primary"}}, "db-2, the primary, "},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			err := situation{Self: &c.self, Others: c.others}.gone()
			if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}
