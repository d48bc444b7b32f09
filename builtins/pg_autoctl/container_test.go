package pgautoctl_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pgrun/pgrun/builtins"
	"github.com/pgrun/pgrun/runtime/builtin/builtintest"
	"github.com/pgrun/pgrun/runtime/builtin/builtintest/container"
	"github.com/pgrun/pgrun/runtime/host"
)

// machine is a container with a formation: the monitor and one data node.
type machine struct {
	*builtintest.Bench
	t    *testing.T
	host *breaking
}

// breaking is a Host on which one pg_autoctl command fails, as if the run were cut off there, or comes to nothing.
type breaking struct {
	host.Host
	at   string
	lost int // settings whose change the service writes over at once
}

func (b *breaking) Run(ctx context.Context, c host.Command) (host.Output, error) {
	if b.at != "" && strings.HasPrefix(strings.Join(c.Argv, " "), "pg_autoctl "+b.at) {
		return host.Output{}, errors.New("cut off")
	}
	if b.lost > 0 && strings.HasPrefix(strings.Join(c.Argv, " "), "pg_autoctl config set") {
		b.lost--
		key := len(c.Argv) - 2
		get := c
		get.Argv = slices.Concat([]string{"pg_autoctl", "config", "get"}, c.Argv[3:key+1])
		before, err := b.Host.Run(ctx, get)
		if err != nil {
			return before, err
		}
		if out, err := b.Host.Run(ctx, c); err != nil {
			return out, err
		}
		c.Argv = append(slices.Clone(c.Argv[:key+1]), strings.TrimSpace(before.Stdout))
		return b.Host.Run(ctx, c)
	}
	return b.Host.Run(ctx, c)
}

// names are what the scripts below use of the formation's.
const names = `load("formation.star", "create", "hostname", "instance", "node_arguments", "pgdata", "port", "prepare_node", "service")` + "\n"

func (m machine) run(script string) *builtintest.Result { m.t.Helper(); return m.Run(names + script) }

// fails runs a script, and before it the same as a dry run, which must both fail with all of want.
func (m machine) fails(script string, want ...string) {
	m.t.Helper()
	for _, check := range []bool{true, false} {
		_, err := m.Try(names+script, check)
		if err == nil {
			m.t.Fatalf("%s\nsucceeds (dry run: %t), want an error with %q", script, check, want)
		}
		for _, w := range want {
			if !strings.Contains(err.Error(), w) {
				m.t.Errorf("%s\ngot error (dry run: %t): %v\nwant in it: %q", script, check, err, w)
			}
		}
	}
}

// sh runs a shell script there.
func (m machine) sh(script string) string {
	m.t.Helper()
	c := host.Command{Argv: []string{"sh", "-euc", script}}
	out, err := host.Succeeded(c)(m.host.Run(m.t.Context(), c))
	if err != nil {
		m.t.Fatal(err)
	}
	return strings.TrimSpace(out.Stdout)
}

// eventually waits until a shell script succeeds.
func (m machine) eventually(script string) {
	m.t.Helper()
	c := host.Command{Argv: []string{"sh", "-euc", script}}
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(200 * time.Millisecond) {
		out, err := host.Succeeded(c)(m.host.Run(m.t.Context(), c))
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			m.t.Fatalf("%s: %v %s", script, err, out.Stdout)
		}
	}
}

func TestContainer(t *testing.T) {
	c := container.New(t, "pgrun-test-pgaf")
	h := &breaking{Host: c.Host}
	bench := func(t *testing.T) machine {
		b := builtintest.New(t, builtintest.Machine{Reader: c.Reader, Host: h}, builtins.Modules()...)
		b.Dir = "testdata"
		return machine{b, t, h}
	}
	bench(t).run(`create(h, 1)`)
	for _, x := range []struct {
		name string
		test func(machine)
	}{
		{"another data directory", testAnotherDirectory},
		{"what waits for a restart, and where it is refused", testRestart},
		{"settings cut off before the service reads them, or written over", testConfigCutOff},
		{"another address of the monitor", testMonitorMoved},
		{"a node that the monitor does not know and that does not run", testUnknownNode},
		{"a creation that was cut off before the node was registered", testUnregistered},
	} {
		t.Run(x.name, func(t *testing.T) { x.test(bench(t)) })
	}
}

// A new PGDATA would leave the old data behind: of the same service, and of the same port with another service.
func testAnotherDirectory(m machine) {
	const (
		monitor = `pg_autoctl.monitor(h, hostname = hostname(h), **dict(instance(0), pgdata = "/var/lib/postgresql/conformance/new", `
		node    = `pg_autoctl.node(h, **dict(node_arguments(h, 1), pgdata = "/var/lib/postgresql/conformance/new", `
	)
	m.fails(monitor+`port = 6600))`, "pgaf-0.service is in /var/lib/postgresql/conformance/0", "dump the data")
	m.fails(monitor+`service = "other.service"))`, "the monitor on port 6500 is in /var/lib/postgresql/conformance/0")
	m.fails(node+`port = 6600))`, "pgaf-1.service is in /var/lib/postgresql/conformance/1")
	m.fails(node+`service = "other.service"))`, "the keeper on port 6501 is in /var/lib/postgresql/conformance/1")

	// Neither is it taken for what is only not there yet, before the server package is installed.
	m.fails(`file.content(h, "/root/pending", content = "x")
`+monitor+`pgctl = "/usr/lib/postgresql/99/bin/pg_ctl"))`, "pgaf-0.service is in")

	m.fails(`pg_autoctl.register(h, hosts = [h], pgdata = "/var/lib/postgresql/conformance/new", monitor_hostname = hostname(h),
    ssl_ca_file = "/etc/pgaf/ca.crt", service = service(1), port = port(0))`, "pgaf-1.service is in")
	m.sh(`rm -f /root/pending; test ! -e /var/lib/postgresql/conformance/new; systemctl is-active pgaf-0 pgaf-1`)
}

// A dry run knows of settings that no server has read, or that are not even written; a restart that would be a failover is refused by it, too.
func testRestart(m machine) {
	psql := func(statement string) {
		m.sh(`cd /; runuser -u postgres -- psql -p 6500 -qtAc "` + statement + `"`)
	}
	waits := func(before, unwritten, want string, check bool) {
		m.t.Helper()
		if _, err := m.Try(names+before+`
got = pg_autoctl.pending_restart(h, port = port(0), unwritten = `+unwritten+`)
if got != `+want+`: fail("waits for a restart: %s" % got)`, check); err != nil {
			m.t.Errorf("dry run: %t: %v", check, err)
		}
	}
	const (
		restart   = `pg_autoctl.restart(h, pgdata(0), port = port(0), service = service(0), `
		reload    = `pg_autoctl.reload(h, port = port(0))` + "\n"
		write     = `file.line(h, pgdata(0) + "/postgresql.conf", line = "work_mem = '9MB'")` + "\n"
		unwritten = `{"work_mem": "9MB", "shared_buffers": "32MB", "no_such": "1"}`
	)
	waits(write+reload, unwritten, `["shared_buffers"]`, true)
	waits(write+reload, `{"shared_buffers": "16384kB", "max_connections": "", "max_wal_senders": "10"}`, `[]`, true) // as it runs
	waits(write+reload, `{"shared_buffers": "", "max_connections": "200", "wal_level": "minimal"}`, `["max_connections", "shared_buffers", "wal_level"]`, true)
	waits(write, unwritten, `[]`, true) // who would have the server read them
	waits(reload, unwritten, `[]`, true)
	waits(`command(h, ["true"])`+"\n"+reload, unwritten, `[]`, false)

	psql("ALTER SYSTEM SET max_connections = 120")
	waits(``, `{}`, `[]`, true)
	waits(`command(h, ["true"])`, `{}`, `[]`, true)
	m.Check(names + write + reload + reload)
	if got := strings.Count(strings.Join(m.Summary(), "\n"), "/postgresql.conf"); got != 2 {
		m.t.Errorf("a line that is to be written and read once: %q", m.Summary())
	}
	other := `file.line(h, pgdata(1) + "/postgresql.conf", line = "work_mem = '9MB'")` + "\n" + strings.Replace(reload, "port(0)", "port(1)", 1)
	m.Check(names + write + reload + other)
	if got := strings.Count(strings.Join(m.Summary(), "\n"), "reload PostgreSQL"); got != 2 {
		m.t.Errorf("two servers, each with a line to read: %q", m.Summary())
	}
	const again = restart + `force = True)` + "\n"
	waits(write+reload+again, unwritten, `[]`, true) // it has been started with them
	waits(again+write+reload, unwritten, `["shared_buffers"]`, true)
	const set = `sql.setting(h, {"max_connections": 130}, port = port(0))` + "\n"
	waits(set, `{"max_connections": "130"}`, `["max_connections"]`, true)
	waits(again+set, `{"max_connections": "130"}`, `["max_connections"]`, true)
	m.Check(names + write + set + reload)
	if got := strings.Join(m.Summary(), "\n"); strings.Contains(got, "reload PostgreSQL") {
		m.t.Errorf("what sql.setting has read is read again: %q", got)
	}
	waits(reload, `{}`, `["max_connections"]`, true)
	m.run(reload)
	waits(``, `{}`, `["max_connections"]`, false)

	psql("SELECT pg_create_physical_replication_slot('pgautofailover_standby_9')")
	m.fails(restart+`)`, "this is the primary", "max_connections")
	psql("SELECT pg_drop_replication_slot('pgautofailover_standby_9')")

	psql("ALTER SYSTEM RESET max_connections")
	m.run(reload)
	waits(``, `{}`, `[]`, false)
}

// A run that ends between the change of a setting and its reading does not hide that from the next.
func testConfigCutOff(m machine) {
	const config = `pg_autoctl.config(h, pgdata(1), settings = {"timeout.network_partition_timeout": 9}, service = service(1))`
	for _, at := range []string{"config set", "reload"} {
		m.host.at = at
		m.Fails(names+config, "cut off")
		m.host.at = ""
		if r := m.Check(names + config); !r.Changed() {
			m.t.Errorf("cut off at %q, the next run finds nothing to do", at)
		}
	}
	m.run(config)
	if got := strings.Join(m.Summary(), "\n"); got != "let pgaf-1.service read its settings, which an earlier run has changed" {
		m.t.Errorf("got %q", got)
	}
	m.sh(`journalctl --sync; journalctl -u pgaf-1 | grep 'network_partition_timeout.* 9'`)
	if r := m.run(config); r.Changed() {
		m.t.Errorf("changes again: %q", m.Summary())
	}
	set := func(value string) string { return strings.Replace(config, ": 9", ": "+value, 1) }
	m.host.lost = 2
	m.run(set("11"))
	if r := m.run(set("11")); r.Changed() {
		m.t.Errorf("what the service wrote over is lost: %q", m.Summary())
	}
	m.host.lost = 3
	m.Fails(names+set("12"), "timeout.network_partition_timeout was set to \"12\" 3 times", "pg_autoctl.cfg has \"11\" then")
	m.host.lost = 0
	for range 2 { // the second time it is there already
		m.Fails(names+set(`"013"`), `was set to "013" 3 times`, `has "13" then: if that means the same, write it so, too`)
	}
	m.Fails(names+strings.Replace(config, "timeout.network_partition_timeout", "postgresql.auth_method", 1), "takes only when it starts")

	m.sh(`pkill -STOP -f '^pg_autoctl: node active'`)
	defer m.sh(`pkill -CONT -f '^pg_autoctl: node active'`)
	m.run(set("14"))
	if got := strings.Join(m.Summary(), "\n"); !strings.Contains(got, "has not read its settings within 15s") {
		m.t.Errorf("a service that is busy: %q", got)
	}
	m.Fails(names+set("14"), "was told by an earlier run to read its settings, and now, and has not within 15s")
	m.sh(`pkill -CONT -f '^pg_autoctl: node active'`)
	m.run(set("14"))
	m.sh(`journalctl --sync; journalctl -u pgaf-1 | grep 'network_partition_timeout.* 14'`)
	if r := m.run(set("14")); r.Changed() {
		m.t.Errorf("changes again: %q", m.Summary())
	}
}

// A node that reports to another address is not left waiting for a monitor that it does not find.
func testMonitorMoved(m machine) {
	const node = `pg_autoctl.node(h, **dict(node_arguments(h, 1), monitor_hostname = "192.0.2.7"))`
	m.fails(node, ":6500, and it is to be at 192.0.2.7:6500", `settings = {"pg_autoctl.monitor": "postgresql://autoctl_node@192.0.2.7:6500/`)
}

// What may be the only copy of the data is not passed over: its formation would begin again elsewhere.
func testUnknownNode(m machine) {
	const register = `pg_autoctl.register(h, hosts = [h], pgdata = pgdata(1), monitor_hostname = hostname(h), monitor_port = port(0),
    ssl_ca_file = "/etc/pgaf/ca.crt", service = service(1), port = port(0))`
	m.sh(`systemctl stop pgaf-1
cd /
runuser -u postgres -- psql -p 6500 -d pg_auto_failover -qtAc "SELECT pgautofailover.remove_node(nodeid, true) FROM pgautofailover.node"`)
	const advice = `runuser -u postgres -- pg_autoctl disable monitor --force --pgdata /var/lib/postgresql/conformance/1; systemctl start pgaf-1.service`
	m.fails(register, "node-1", "pgaf-1.service is inactive", advice)
	m.fails(`pg_autoctl.node(h, **node_arguments(h, 1))`, advice)

	m.sh("cd /; " + advice)
	m.eventually(`runuser -u postgres -- psql -p 6501 -qtAc "SELECT 1"`)
	m.run(register)
	if r := m.run(`pg_autoctl.node(h, hosts = [h], **node_arguments(h, 1))`); r.Changed() {
		m.t.Errorf("changes: %q", m.Summary())
	}
}

// A node looks finished while pg_autoctl asks the monitor to register it: the next run waits for that, or where it was cut off takes it up.
func testUnregistered(m machine) {
	const (
		register = `pg_autoctl.register(h, hosts = [h], pgdata = pgdata(2), monitor_hostname = hostname(h), monitor_port = port(0),
    ssl_ca_file = "/etc/pgaf/ca.crt", service = service(2), port = port(0))`
		node = `pg_autoctl.node(h, **node_arguments(h, 2))`
	)
	m.run(`prepare_node(h, 2)`)
	address := m.sh(`hostname -I | cut -d' ' -f1`)
	m.sh(`systemctl stop pgaf-0
systemd-run --quiet --collect --unit=pgaf-2-create --property=User=postgres --property=RuntimeDirectory=pgaf-2 --setenv=XDG_RUNTIME_DIR=/run/pgaf-2 /usr/bin/pg_autoctl create postgres \
  --pgdata /var/lib/postgresql/conformance/2 --pgport 6502 --name node-2 --hostname ` + address + ` --skip-pg-hba --ssl-ca-file /etc/pgaf/ca.crt --server-cert /etc/pgaf/server.crt \
  --server-key /etc/pgaf/server.key --ssl-mode verify-full --monitor "postgresql://autoctl_node@` + address + `:6500/pg_auto_failover?sslmode=verify-full&sslrootcert=/etc/pgaf/ca.crt"`)
	m.eventually(`test -e /var/lib/postgresql/.local/share/pg_autoctl/var/lib/postgresql/conformance/2/pg_autoctl.state`)
	m.sh(`systemctl kill --signal=STOP pgaf-2-create; systemctl start pgaf-0`)
	m.eventually(`runuser -u postgres -- psql -p 6500 -d pg_auto_failover -qtAc "SELECT 1"`)
	if r := m.run(register); r.Changed() {
		m.t.Errorf("a node that is being created is registered: %q", m.Summary())
	}
	m.Check(names + node)
	if got := strings.Join(m.Summary(), "\n"); !strings.HasPrefix(got, "wait") {
		m.t.Errorf("a creation that goes on: %q", got)
	}

	m.sh(`systemctl kill --signal=KILL pgaf-2-create`)
	m.eventually(`! systemctl is-active pgaf-2-create`)
	if r := m.run(register); r.Changed() {
		m.t.Errorf("a node that was never registered is: %q", m.Summary())
	}
	m.run(node)
	if r := m.run(node); r.Changed() {
		m.t.Errorf("changes: %q", m.Summary())
	}
}
