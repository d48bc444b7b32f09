package pgautoctl

import (
	"context"
	"encoding/binary"
	"errors"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.starlark.net/starlark"

	"github.com/pgrun/pgrun/runtime/builtin"
	"github.com/pgrun/pgrun/runtime/host"
	"github.com/pgrun/pgrun/runtime/outcome"
)

func TestParseSettings(t *testing.T) {
	got := parseSettings([]byte(`[pg_autoctl]
role = keeper
monitor = postgresql://autoctl_node@198.18.0.60:5432/pg_auto_failover?sslmode=verify-full
# hostname = commented

[postgresql]
port = 5432
auth_method =
`))
	want := map[string]string{
		"pg_autoctl.role":        "keeper",
		"pg_autoctl.monitor":     "postgresql://autoctl_node@198.18.0.60:5432/pg_auto_failover?sslmode=verify-full",
		"postgresql.port":        "5432",
		"postgresql.auth_method": "",
	}
	if !maps.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestLayout(t *testing.T) {
	l := layout{"/var/lib/postgresql", "/srv/pg/node"}
	for got, want := range map[string]string{
		l.settings(): "/var/lib/postgresql/.config/pg_autoctl/srv/pg/node/pg_autoctl.cfg",
		l.state():    "/var/lib/postgresql/.local/share/pg_autoctl/srv/pg/node/pg_autoctl.state",
		l.init():     "/var/lib/postgresql/.local/share/pg_autoctl/srv/pg/node/pg_autoctl.init",
		l.created():  "/var/lib/postgresql/.config/pg_autoctl/srv/pg/node/created.pgrun",
		l.reload():   "/var/lib/postgresql/.config/pg_autoctl/srv/pg/node/reload.pgrun",
		l.backup(3):  "/srv/pg/backup/node_3",
	} {
		if got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

func TestCheckPath(t *testing.T) {
	for _, bad := range []string{"", "/", "node", "/a/../b", "/a/", "/a b", "/a$b", "/a'b", "/a%b", "/a\nb"} {
		if checkPath("pgdata", bad) == nil {
			t.Errorf("%q passes", bad)
		}
	}
	if err := checkPath("pgdata", "/var/lib/postgresql/17/pgaf-1"); err != nil {
		t.Error(err)
	}
}

func TestNumberOf(t *testing.T) {
	f := func(nodes int) (f formation) {
		for range nodes {
			f.Nodes = append(f.Nodes, Node{ReplicationQuorum: true})
		}
		return f
	}
	for _, c := range []struct {
		nodes, n int
		err      string
	}{
		{1, 0, ""}, {2, 0, ""}, {3, 0, ""}, {3, 1, ""}, {4, 2, ""},
		{2, 1, "either set 0"}, {2, 1, "until there are 3"}, {3, 2, "until there are 4"}, {1, 1, "has 0 (data nodes: 1)"},
	} {
		err := f(c.nodes).admits(c.n)
		if (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("%d nodes, %d: got %v, want %q", c.nodes, c.n, err, c.err)
		}
	}
	for _, bad := range []starlark.Value{starlark.String("all"), starlark.MakeInt(-1), starlark.Float(1), starlark.None, starlark.True} {
		if _, _, err := numberOf(builtin.Any{Value: bad}); err == nil {
			t.Errorf("%s passes", bad)
		}
	}
}

// Of two that take writes, neither is given to the monitor; the primary goes first.
func TestInOrder(t *testing.T) {
	known := formation{Nodes: []Node{{Name: "p", ReportedState: "single", AssignedState: "single"}}}
	primary, standby := stray{name: "a", primary: true}, stray{name: "b"}
	for _, c := range []struct {
		f      formation
		strays []stray
		want   string
	}{
		{formation{}, []stray{standby, primary}, "a b"},
		{known, []stray{standby}, "b"},
		{formation{}, []stray{standby}, "error"},
		{known, []stray{standby, primary}, "error"},
		{formation{}, []stray{primary, {name: "c", primary: true}}, "error"},
	} {
		strays, err := c.f.inOrder(c.strays)
		var names []string
		for _, s := range strays {
			names = append(names, s.name)
		}
		got := strings.Join(names, " ")
		if err != nil {
			got = "error"
		}
		if got != c.want {
			t.Errorf("got %s (%v), want %s", got, err, c.want)
		}
	}
}

func TestQueryEscape(t *testing.T) {
	if got, want := queryEscape("/my dir/a+b&c.crt"), "/my%20dir/a%2Bb%26c.crt"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestTelling(t *testing.T) {
	log := "09:00:00 1 INFO  Registered\n09:00:01 1 ERROR No such host\n09:00:01 1 FATAL Giving up\n09:00:02 1 INFO  Stopped\n"
	if got, want := telling(log), "09:00:01 1 ERROR No such host\n09:00:01 1 FATAL Giving up"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := telling("one\ntwo\n"); got != "one\ntwo" {
		t.Errorf("got %q", got)
	}
}

func TestWaitFor(t *testing.T) {
	notYet, hopeless, stopped := errors.New("not yet"), errors.New("hopeless"), errors.New("stopped")
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		defer cancel(nil)
		tries := 0
		err := waitFor(ctx, "it", time.Minute, func(context.Context) error {
			if tries++; tries < 5 {
				return notYet
			}
			return nil
		})
		if err != nil || tries != 5 {
			t.Errorf("got %v after %d tries", err, tries)
		}
		var late *outcome.Deadline
		if err := waitFor(ctx, "it", time.Second, func(context.Context) error { return notYet }); !errors.As(err, &late) || late.Last != notYet || late.After != time.Second {
			t.Errorf("got %v, want a deadline that tells the last error", err)
		}
		if err := waitFor(ctx, "it", time.Minute, func(context.Context) error { return final{hopeless} }); err != hopeless {
			t.Errorf("got %v, want the final error at once", err)
		}
		time.AfterFunc(time.Second, func() { cancel(stopped) })
		if err := waitFor(ctx, "it", time.Minute, func(context.Context) error { return notYet }); err != stopped {
			t.Errorf("got %v, want the cause of the end", err)
		}
	})
}

// written is a machine on which pg_autoctl writes its file: at first there is nothing in it.
type written struct {
	host.Reader
	empty int
}

func (w *written) ReadFile(context.Context, string) ([]byte, error) {
	if w.empty--; w.empty >= 0 {
		return nil, nil
	}
	return []byte("[timeout]\nnetwork_partition_timeout = 9\n"), nil
}

func TestReadSettingsWhileWritten(t *testing.T) {
	for _, empty := range []int{0, 3, 1 << 30} {
		synctest.Test(t, func(t *testing.T) {
			got, err := readSettings(t.Context(), &written{empty: empty}, layout{"/var/lib/postgresql", "/srv/pg"})
			switch forever := empty > 3; {
			case forever && (err == nil || host.Missing(err) || !strings.Contains(err.Error(), "/srv/pg/pg_autoctl.cfg is empty")):
				t.Errorf("one that stays empty: %v", err)
			case !forever && (err != nil || got["timeout.network_partition_timeout"] != "9"):
				t.Errorf("empty for %d looks: got %q, %v", empty, got, err)
			}
		})
	}
}

// disk is a machine that has nothing but files, and at most one unit.
type disk struct {
	host.Reader
	files  []string
	pgdata []string // what is in there
	state  []byte   // of pg_autoctl
	unit   string
}

func (d disk) Look(_ context.Context, c host.Command) (host.Output, error) {
	if d.unit != "" && slices.Contains(c.Argv, d.unit) {
		return host.Output{Stdout: "active\n"}, nil
	}
	return host.Output{Stdout: "inactive\n"}, nil
}

func (d disk) ReadDir(context.Context, string) (entries []host.Info, err error) {
	for _, name := range d.pgdata {
		entries = append(entries, host.Info{Name: name})
	}
	return entries, nil
}

func (d disk) Stat(_ context.Context, path string) (host.Info, error) {
	if slices.Contains(d.files, path) {
		return host.Info{}, nil
	}
	return host.Info{}, fs.ErrNotExist
}

func (d disk) ReadFile(_ context.Context, p string) ([]byte, error) {
	if path.Base(p) == "pg_autoctl.state" {
		return d.state, nil
	}
	return []byte("root:x:0:0:root:/root:/bin/bash\npostgres:x:100:100::/var/lib/postgresql:/bin/bash\n"), nil
}

// Only a cluster that holds no data may be taken for a new one: decide has such a one removed.
func TestClusterAt(t *testing.T) {
	for _, c := range []struct {
		files []string
		want  cluster
	}{
		{nil, noCluster},
		{[]string{"lost+found"}, otherContent},
		{[]string{"PG_VERSION", "postgresql.conf", "global"}, newCluster},
		{[]string{"PG_VERSION", "postmaster.opts"}, usedCluster},
		{[]string{"PG_VERSION", "backup_label"}, usedCluster},
		{[]string{"PG_VERSION", "standby.signal"}, usedCluster},
		{[]string{"PG_VERSION", "recovery.signal"}, usedCluster},
	} {
		got, err := clusterAt(t.Context(), disk{pgdata: c.files}, "/srv/pg/node")
		if err != nil || got != c.want {
			t.Errorf("%q: got %v, %v, want %v", c.files, got, err, c.want)
		}
	}
}

// A formation does not begin with an empty cluster while another host holds its data.
func TestNoNodeOn(t *testing.T) {
	p := nodeParams{}
	p.PGData, p.Service = "/srv/pg/node", "pg_autoctl.service"
	l := layout{"/var/lib/postgresql", p.PGData}
	made := []string{l.settings(), l.state()}
	const inInit, single, secondary = 1, 2, 9
	state := func(version, role uint32) []byte {
		content := make([]byte, 1024)
		binary.LittleEndian.PutUint32(content, version)
		binary.LittleEndian.PutUint32(content[56:], role)
		return content
	}
	const holds = "it holds a data node, and the monitor knows none"
	for _, c := range []struct {
		name string
		disk disk
		want string
	}{
		{"nothing", disk{}, ""},
		{"a creation that was cut off", disk{files: []string{l.settings(), l.init()}}, ""},
		{"one that was cut off after its registration", disk{files: []string{l.settings(), l.init(), l.state()}}, ""},
		{"one that was cut off before its registration", disk{files: made, state: state(1, inInit)}, ""},
		{"one that was cut off so after its initdb", disk{files: made, state: state(1, inInit), pgdata: []string{"PG_VERSION"}}, ""},
		{"one that goes on", disk{files: made, state: state(1, inInit), unit: "pg_autoctl-create.service"}, "pg_autoctl-create.service is creating a data node"},
		{"a node", disk{files: made, state: state(1, single), pgdata: []string{"PG_VERSION", "postmaster.opts"}}, holds},
		{"a node that was rewound and has not started", disk{files: made, state: state(1, secondary), pgdata: []string{"PG_VERSION", "backup_label"}}, holds},
		{"a node whose copy has not started", disk{files: made, state: state(1, secondary), pgdata: []string{"PG_VERSION", "standby.signal"}}, holds},
		{"a node without its data", disk{files: made, state: state(1, single)}, holds},
		{"a node whose state is empty", disk{files: made}, holds},
		{"a node without its settings", disk{files: made[1:], state: state(1, single)}, holds},
		{"a state of another form", disk{files: made, state: state(2, inInit)}, holds},
	} {
		err := p.noNodeOn(t.Context(), c.disk)
		if (err != nil) != (c.want != "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", c.name, err, c.want)
		} else if host.Missing(err) {
			t.Errorf("%s: a dry run would pass over %v", c.name, err)
		}
	}
}

// looks is a disk whose machine nothing may be done to.
type looks struct {
	host.Host
	disk disk
}

func (l looks) Look(ctx context.Context, c host.Command) (host.Output, error) {
	return l.disk.Look(ctx, c)
}

// A creation that another run began meanwhile is not ended.
func TestCreateBesideAnother(t *testing.T) {
	err := creation{Service: "pg_autoctl.service"}.create(t.Context(), looks{disk: disk{unit: "pg_autoctl-create.service"}}, time.Minute, "postgres", "pg_ctl")
	if err == nil || !strings.Contains(err.Error(), "another run has begun to create it, with pg_autoctl-create.service") {
		t.Errorf("got %v", err)
	}
}
