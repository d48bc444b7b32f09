package pgautoctl

import (
	"context"
	"errors"
	"io/fs"
	"maps"
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

// disk is a machine that has nothing but files.
type disk struct {
	host.Reader
	files []string
}

func (d disk) Stat(_ context.Context, path string) (host.Info, error) {
	if slices.Contains(d.files, path) {
		return host.Info{}, nil
	}
	return host.Info{}, fs.ErrNotExist
}

func (disk) ReadFile(context.Context, string) ([]byte, error) {
	return []byte("root:x:0:0:root:/root:/bin/bash\npostgres:x:100:100::/var/lib/postgresql:/bin/bash\n"), nil
}

// A formation does not begin with an empty cluster while another host holds its data.
func TestNoNodeOn(t *testing.T) {
	p := nodeParams{}
	p.PGData, p.Service = "/srv/pg/node", "pg_autoctl.service"
	l := layout{"/var/lib/postgresql", p.PGData}
	for _, c := range []struct {
		name  string
		files []string
		holds bool
	}{
		{"nothing", nil, false},
		{"a creation that was cut off", []string{l.settings(), l.init()}, false},
		{"one that was cut off after its registration", []string{l.settings(), l.init(), l.state()}, false},
		{"a node", []string{l.settings(), l.state()}, true},
	} {
		if err := p.noNodeOn(t.Context(), disk{files: c.files}); (err != nil) != c.holds {
			t.Errorf("%s: got %v", c.name, err)
		} else if host.Missing(err) {
			t.Errorf("%s: a dry run would pass over %v", c.name, err)
		}
	}
}
