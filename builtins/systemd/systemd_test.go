package systemd

import (
	"strings"
	"testing"
	"time"

	"github.com/pgrun/pgrun/builtins/file"
	"github.com/pgrun/pgrun/runtime/builtin"
	"github.com/pgrun/pgrun/runtime/builtin/builtintest"
	"github.com/pgrun/pgrun/runtime/builtin/builtintest/container"
	"github.com/pgrun/pgrun/runtime/host"
)

// machine is a container.
type machine struct {
	*builtintest.Bench
	t    *testing.T
	host host.Host
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

// summary checks what the last script did, or would have, but for what it says of files.
func (m machine) summary(want ...string) {
	m.t.Helper()
	var got []string
	for _, line := range m.Summary() {
		if verb, _, _ := strings.Cut(line, " "); verb != "create" && verb != "change" {
			got = append(got, line)
		}
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		m.t.Errorf("got %q, want %q", got, want)
	}
}

// pid is that of a unit's main process.
func (m machine) pid(name string) string {
	m.t.Helper()
	return m.sh("systemctl show --property=MainPID --value " + name)
}

func TestContainer(t *testing.T) {
	c := container.New(t, "pgrun-test-systemd")
	for _, x := range []struct {
		name string
		test func(machine)
	}{
		{"cut off", testCutOff},
		{"reload", testReload},
		{"restart", testRestart},
		{"drop-in", testDropin},
		{"enable", testEnable},
		{"enable otherwise", testEnableOtherwise},
		{"absent", testAbsent},
		{"template", testTemplate},
		{"start", testStart},
		{"failures", testFailures},
		{"pending", testPending},
	} {
		t.Run(x.name, func(t *testing.T) {
			m := machine{builtintest.New(t, c.Machine, Module(), file.Module()), t, c.Host}
			x.test(m)
			m.Run(`[systemd.absent(h, "t" + n) for n in ["est", "est.timer", "est@", "wo"]]`)
		})
	}
}

const (
	service  = "[Service]\\nExecStart=sleep infinity\\n[Install]\\nWantedBy=multi-user.target\\n"
	unitTest = `systemd.unit(h, "test", content = "` + service + `#%s\n")`
)

func content(mark string) string { return strings.Replace(unitTest, "%s", mark, 1) }

// testCutOff ends runs between any two of their steps.
func testCutOff(m machine) {
	const path = "/etc/systemd/system/test.service"
	for _, x := range []struct{ name, before string }{
		{"nothing", "true"},
		{"the file is written", "printf '" + strings.ReplaceAll(service, `\\`, `\`) + "#new\\n' > " + path},
		{"and systemd has read it", "printf '" + service + "#new\\n' > " + path + "; systemctl daemon-reload"},
		{"and it is stopped", "printf '" + service + "#new\\n' > " + path + "; systemctl daemon-reload; systemctl stop test"},
		{"and it is not enabled", "printf '" + service + "#new\\n' > " + path + "; systemctl daemon-reload; systemctl disable -q test"},
	} {
		m.Run(content("old"))
		old := m.pid("test")
		m.sh(x.before)
		m.Idempotent(content("new"))
		if now := m.pid("test"); now == old || now == "0" {
			m.t.Errorf("%s: the process is still %s (was %s)", x.name, now, old)
		}
		if got := m.sh("systemctl is-enabled test; systemctl show --property=NeedDaemonReload --value test"); got != "enabled\nno" {
			m.t.Errorf("%s: %s", x.name, got)
		}
		m.Run(`systemd.absent(h, "test")`)
	}

	// Absent, after its file was removed and nothing else, or its links, too.
	for _, links := range []string{"", " /etc/systemd/system/multi-user.target.wants/test.service"} {
		m.Run(content("old"))
		m.sh("rm " + path + links)
		m.Idempotent(`systemd.absent(h, "test")`)
		if got := m.sh("pgrep -x sleep || find /etc/systemd -name 'test*'"); got != "" {
			m.t.Errorf("still there: %s", got)
		}
	}
	// And stopped, after systemd has noticed that it is gone.
	m.Run(content("old"))
	m.sh("rm " + path + "; systemctl daemon-reload")
	m.Fails(`systemd.started(h, "test")`, "no unit test.service")
	m.Run(`systemd.stopped(h, "test")`)
	m.summary("stop test.service")
	m.Fails(`systemd.stopped(h, "test")`, "no unit test.service")
}

func testDropin(m machine) {
	const dropin = `systemd.unit(h, "test", dropin = "limits", content = "[Service]\nLimitNOFILE=4096\n")`
	m.Fails(dropin, "no unit test.service on the machine")
	m.Run(content("one"))
	m.Idempotent(dropin)
	if got := m.sh("cat /proc/$(systemctl show --property=MainPID --value test)/limits | grep -c '^Max open files *4096 '"); got != "1" {
		m.t.Error("the drop-in has no effect")
	}
	m.Check(content("two") + "\n" + dropin)
	m.summary("reload systemd's configuration", "restart test.service: its file changes")

	// systemd lists it under another path where its directory is a link.
	m.sh("mv /etc/systemd/system/test.service.d /etc/test.drop-ins; ln -s /etc/test.drop-ins /etc/systemd/system/test.service.d; systemctl daemon-reload")
	m.Run(dropin)
	m.summary()
	m.sh("rm /etc/systemd/system/test.service.d; mv /etc/test.drop-ins /etc/systemd/system/test.service.d; systemctl daemon-reload")
	m.Run(content("one"))
	m.summary()

	// One of others counts, whether systemd has read it or not.
	const other = "/etc/systemd/system/test.service.d/other.conf"
	for _, reload := range []string{"", "; systemctl daemon-reload"} {
		m.sh("printf '[Service]\\nNice=1\\n' > " + other + reload)
		m.Check(content("one"))
		if got := m.Summary(); len(got) == 0 || got[len(got)-1] != "restart test.service: it was started before "+other+" was changed" {
			m.t.Errorf("a drop-in of others: %q", got)
		}
		m.Idempotent(content("one"))
	}
	// But not what a generator writes at each reload.
	m.sh("mkdir -p /run/systemd/system/test.service.d; printf '[Service]\\nNice=2\\n' > /run/systemd/system/test.service.d/run.conf; systemctl daemon-reload")
	m.Run(content("one"))
	m.summary()
	m.sh("rm -r /run/systemd/system/test.service.d; systemctl daemon-reload")
}

func testEnable(m machine) {
	m.Run(content("one"))
	links := `find /etc/systemd/system -name test.service -type l | sort | xargs -n1 dirname | xargs -n1 basename`
	if got := m.sh(links); got != "multi-user.target.wants" {
		m.t.Errorf("links: %s", got)
	}
	m.Idempotent(strings.Replace(content("one"), "multi-user.target", "timers.target", 1))
	if got := m.sh(links); got != "timers.target.wants" {
		m.t.Errorf("links, after WantedBy= has changed: %s", got)
	}
	m.Idempotent(`systemd.disabled(h, "test")`)
	m.Run(`systemd.status(h, "test").enabled and fail()`)
	m.Idempotent(`systemd.enabled(h, "test")`)
	m.Fails(`systemd.enabled(h, "systemd-journald")`, "systemd-journald.service cannot be enabled", "[Install]")
	m.Fails(`systemd.unit(h, "test", dropin = "x", content = "[Service]\nNice=1\n", state = None)
systemd.unit(h, "systemd-journald", dropin = "x", content = "[Service]\nNice=1\n")`, "systemd-journald.service cannot be enabled")
	m.Run(`file.absent(h, "/etc/systemd/system/systemd-journald.service.d", recursive = True)`)
}

// testEnableOtherwise has units whose being enabled is not what systemctl enable and disable make of it.
func testEnableOtherwise(m machine) {
	// What systemd remembers is not what the disk says.
	m.Run(content("one") + `
systemd.status(h, "test").enabled or fail()`)
	m.sh("rm /etc/systemd/system/multi-user.target.wants/test.service")
	m.Idempotent(`systemd.enabled(h, "test")`)
	m.sh("systemctl --no-reload disable test")
	m.Idempotent(`systemd.enabled(h, "test")`)

	// Until the next boot.
	m.sh("systemctl enable --runtime test")
	m.Idempotent(`systemd.disabled(h, "test")`)
	m.sh("systemctl enable --runtime test")
	m.Idempotent(`systemd.disabled(h, "test")`)
	m.sh("systemctl mask --runtime two")
	m.Idempotent(`systemd.unmasked(h, "two")`)
	m.sh("systemctl mask two; systemctl mask --runtime two")
	m.Idempotent(`systemd.unmasked(h, "two")`)

	// Through others, and by a generator, of which there are those with and those without a file.
	defer m.sh("rm -r /run/systemd/system-generators /usr/lib/systemd/system/test-*; systemctl daemon-reload")
	m.sh(`cd /usr/lib/systemd/system
printf '[Service]\nExecStart=true\n[Install]\nAlso=test-also.socket\n' > test-also.service
printf '[Socket]\nListenStream=/run/test-also\n[Install]\nWantedBy=sockets.target\n' > test-also.socket
printf '[Service]\nExecStart=sleep infinity\n[Install]\nWantedBy=multi-user.target\n' > test-linked.service
printf '[Service]\nExecStart=sleep infinity\n[Install]\nWantedBy=multi-user.target\n' > test-other.service
ln -s test-other.service test-another.service
ln -s /dev/null test-masked.service
mkdir -p /run/systemd/system-generators
cat > /run/systemd/system-generators/test <<-'END'
	#!/bin/sh
	printf '[Service]\nExecStart=true\n' > $1/test-made.service
	mkdir $1/basic.target.wants
	ln -s /usr/lib/systemd/system/test-linked.service $1/basic.target.wants/
	END
chmod +x /run/systemd/system-generators/test
systemctl daemon-reload`)
	m.Run(`systemd.status(h, "test-also").enabled and fail()
systemd.disabled(h, "test-also")`)
	m.summary()
	m.Fails(`systemd.enabled(h, "test-also")`, "test-also.service cannot be enabled", "Also=")
	m.Idempotent(`systemd.enabled(h, "test-also.socket")`)
	m.Idempotent(`systemd.disabled(h, "test-also.socket")`)
	m.Fails(`systemd.enabled(h, "test-made")`, "test-made.service cannot be enabled or disabled", "generator")
	m.Fails(`systemd.disabled(h, "test-made")`, "test-made.service cannot be enabled or disabled", "systemd.masked")
	m.Fails(`systemd.disabled(h, "test-linked")`, "disable test-linked.service", "enabled-runtime", "systemd.masked")
	m.Fails(`systemd.unmasked(h, "test-masked")`, "unmask test-masked.service", "masked")
	m.Idempotent(`systemd.masked(h, "test-made")`)
	m.Run(`systemd.unmasked(h, "test-made")`)

	// An alias is enabled when the unit is that it stands for. Enabled under another name, a unit is not enabled itself.
	m.Run(`systemd.status(h, "test-another").enabled and fail()
systemd.disabled(h, "test-another")`)
	m.summary()
	m.Idempotent(`systemd.enabled(h, "test-other")`)
	m.Run(`systemd.status(h, "test-another").enabled or fail()
systemd.enabled(h, "test-another")`)
	m.summary()
	m.Run(`systemd.disabled(h, "test-other")`)
	m.Fails(`systemd.unit(h, "test", content = "[Service]\nExecStart=sleep infinity\n[Install]\nAlso=test-other.service\n")`, "enabled", "no [Install] section that says what starts")
}

func testAbsent(m machine) {
	defer m.sh("rm -rf /usr/lib/systemd/system/test-* /run/systemd/system/test-*; systemctl daemon-reload")
	m.sh(`printf '[Service]\nExecStart=sleep infinity\n[Install]\nWantedBy=multi-user.target\nAlias=test-alias.service\n' > /usr/lib/systemd/system/test-packaged.service
printf '[Service]\nExecStart=sleep infinity\n' > /run/systemd/system/test-run.service
systemctl daemon-reload
systemctl enable -q --now test-packaged
systemctl mask -q test-masked
systemd-run -q --unit=test-transient sleep infinity`)
	for name, want := range map[string]string{
		"test-packaged": "package", "test-alias": "is an alias", "test-run": "/run/systemd/system/test-run.service", "test-masked": "masked", "test-transient": "systemd.stopped", "autovt@": "is an alias",
	} {
		m.Fails(`systemd.absent(h, "`+name+`")`, name, want)
	}
	if got := m.sh("systemctl is-active test-alias test-transient; systemctl is-enabled test-packaged"); got != "active\nactive\nenabled" {
		m.t.Errorf("they are %s", got)
	}
	m.sh("systemctl stop test-transient test-packaged; systemctl disable -q test-packaged; systemctl unmask -q test-masked")

	m.Run(content("one"))
	m.Check(`systemd.stopped(h, "test")
systemd.absent(h, "test")`)
	m.summary("stop test.service", "disable test.service", "remove file /etc/systemd/system/test.service", "reload systemd's configuration")
	m.Run(`systemd.absent(h, "test")`)

	// Of a template, instances are enabled that nobody has started.
	for _, more := range []string{"true", "systemctl start test@1", "systemctl start test@1; rm /etc/systemd/system/test@.service"} {
		m.Run(strings.Replace(content("one"), `"test"`, `"test@"`, 1))
		m.sh("systemctl enable -q test@1 test@2; systemctl enable -q --runtime test@3; " + more)
		m.Idempotent(`systemd.absent(h, "test@")`)
		if got := m.sh("find /etc/systemd /run/systemd/system -name 'test@*'; systemctl is-active test@1 || true"); got != "inactive" {
			m.t.Errorf("%s: still there: %s", more, got)
		}
	}
}

func testTemplate(m machine) {
	unit := func(mark string) string { return strings.Replace(content(mark), `"test"`, `"test@"`, 1) }
	m.Idempotent(unit("one"))
	m.Idempotent(`systemd.started(h, "test@1")
systemd.enabled(h, "test@2.service")`)
	before := m.pid("test@1")
	m.Check(unit("two"))
	m.summary("reload systemd's configuration", "restart test@1.service: its file changes")
	m.Idempotent(unit("two"))
	if now := m.pid("test@1"); now == before || now == "0" {
		m.t.Errorf("the instance was not restarted: %s", now)
	}
	m.Idempotent(`systemd.absent(h, "test@")`)
	if got := m.sh("systemctl is-active test@1 || true"); got != "inactive" {
		m.t.Errorf("the instance is %s", got)
	}
}

func testStart(m machine) {
	unit := func(more, body string) string {
		return `systemd.unit(h, "test", enabled = None, ` + more + `content = "[Service]\n` + body + `\n")`
	}
	// A service that tells when it is ready is waited for, and no longer.
	began := time.Now()
	m.Run(unit(`settle = "1h", `, `Type=notify\nNotifyAccess=all\nExecStart=sh -c 'sleep 0.3; systemd-notify --ready; sleep infinity'`))
	if took := time.Since(began); took > 30*time.Second {
		m.t.Errorf("it took %s", took)
	}
	// One that takes its time is waited for by the next run, too: it is on its way.
	m.Run(`systemd.stopped(h, "test")`)
	m.sh("systemctl start --no-block test; timeout 10 sh -c 'until systemctl show --property=ActiveState --value test | grep -qx \"activating\\|active\"; do :; done'")
	m.Run(`systemd.started(h, "test")`)
	m.summary()

	// So many starts in so short a time would be refused by systemd.
	m.Run(unit("", "ExecStart=sleep infinity"))
	for range 8 {
		m.Run(`systemd.restarted(h, "test", settle = "0s")`)
	}
	m.Run(`systemd.stopped(h, "test")`)

	// What has once failed is started again when its cause is gone.
	m.Fails(unit("", `Restart=on-failure\nRestartSec=10ms\nExecStart=sh -c 'exit 3'`), "start test.service")
	m.Run(unit("", `Restart=on-failure\nExecStart=sleep infinity`))
	if got := m.sh("systemctl show --property=NRestarts --value test"); got != "0" {
		m.t.Errorf("restarts: %s", got)
	}
	m.Fails(unit(`timeout = "4s", `, `Type=notify\nExecStart=sleep infinity`), "not done after 4s (timeout)", "it is activating (start)")
	began = time.Now()
	m.Run(unit("", `ExecStart=sleep infinity`))
	if took := time.Since(began); took > 30*time.Second {
		m.t.Errorf("a start of the new file waited %s for that of the old", took)
	}
	m.Run(unit(`state = None, `, `Type=oneshot\nExecStart=touch /run/test-ran`) + `
systemd.restarted(h, "test")
file.absent(h, "/run/test-ran").changed or fail()`)
	m.Fails(`systemd.started(h, "test")`, "Type=oneshot")

	// What systemd has not read yet of one that it keeps in mind, for another unit wants it, is looked at.
	const wants = "/etc/systemd/system/multi-user.target.wants/test.service"
	m.sh("ln -s ../test.service " + wants + "; mkdir -p /etc/systemd/system/test.service.d; systemctl daemon-reload; echo '[Service]\nNice=1' > /etc/systemd/system/test.service.d/nice.conf")
	m.Fails(`systemd.started(h, "test")`, "Type=oneshot")
	m.Run(`file.content(h, "/etc/systemd/system/test.service.d/remain.conf", content = "[Service]\nRemainAfterExit=yes\n")
systemd.started(h, "test")`)
	m.summary("reload systemd's configuration", "start test.service")
	m.sh("rm -r /etc/systemd/system/test.service.d " + wants + "; systemctl daemon-reload")
	m.Run(`systemd.stopped(h, "test")`)
	for _, other := range []string{
		`systemd.unit(h, "test", dropin = "remain", content = "[Service]\nRemainAfterExit=yes\n", state = None, enabled = None)`,
		unit(`state = None, `, `ExecStart=sleep infinity`),
	} {
		m.Check(other + `
systemd.started(h, "test")`)
		m.summary("reload systemd's configuration", "start test.service")
	}
	m.Idempotent(unit("", `Type=oneshot\nRemainAfterExit=yes\nExecStart=true`))
	m.Idempotent(`systemd.unit(h, "test.timer", content = "[Timer]\nOnCalendar=daily\n[Install]\nWantedBy=timers.target\n")`)
}

func testFailures(m machine) {
	for _, x := range []struct {
		body string
		want []string
	}{
		{`ExecStart=sh -c 'echo out; echo err >&2; exit 3'`,
			[]string{"start test.service: it is failed (failed), exit-code, its process ended with exit code 3", "\n    out\n", "\n    err\n"}},
		{`Restart=always\nRestartSec=1h\nExecStart=sh -c 'sleep 0.1; echo done'`,
			[]string{"start test.service: it is activating (auto-restart), its process ended with exit code 0", "\n    done"}},
		{`ExecStart=sh -c 'sleep 0.1; kill -9 $$$$'`, []string{"signal", "its process was ended by signal 9"}},
		{`ExecStart=true`, []string{"start test.service: it is inactive (dead)"}},
		{`ExecStart=/nonesuch`, []string{"exit code 203", "No such file or directory"}},
		{`Restart=always`, []string{"bad unit file setting", "no ExecStart="}},
		{`Type=forking\nExecStart=sh -c 'echo whoops; exit 1'`, []string{"start test.service: it is failed", "whoops"}},
	} {
		err := m.Fails(`systemd.unit(h, "test", enabled = None, content = "[Service]\n`+x.body+`\n")`, x.want...)
		if lines := strings.Count(err.Error(), "\n"); lines > maxJournal+2 {
			m.t.Errorf("%d lines of error", lines)
		}
		if strings.Contains(err.Error(), "whoops") != strings.Contains(x.body, "whoops") {
			m.t.Errorf("the journal of another start: %v", err)
		}
	}
	for range 2 {
		m.Fails(`systemd.unit(h, "badly", enabled = None, content = "[Service]\nRestart=always\n")`, "bad unit file setting", "no ExecStart=")
	}
	m.Run(`systemd.absent(h, "badly")`)
	m.sh(`printf '[Service]\nExecStart=sh -c "echo whoops; exit 1"\n' > /etc/systemd/system/test.service
ln -s test.service /etc/systemd/system/two.service
systemctl daemon-reload`)
	m.Fails(`systemd.started(h, "two")`, "start two.service: it is failed", "\n    whoops\n")
	m.sh("rm /etc/systemd/system/two.service; systemctl daemon-reload")
	m.Run(`systemd.unit(h, "test", enabled = None, content = "[Service]\nExecStart=sleep infinity\nExecReload=sh -c 'echo will not; exit 1'\n")`)
	m.Fails(`systemd.reloaded(h, "test")`, "reload test.service", "will not")
	m.Run(`systemd.stopped(h, "test")`)
	m.Fails(`systemd.reloaded(h, "test")`, "test.service is not running", "systemd.started")
}

// testPending has a dry run of what depends on earlier steps.
func testPending(m machine) {
	m.Check(content("x") + `
systemd.unit(h, "test", dropin = "d", content = "[Service]\nNice=1\n")
systemd.masked(h, "two")`)
	m.Check(content("x") + `
systemd.reloaded(h, "test")`)
	if last := m.Events[len(m.Events)-1]; last.Status != builtin.Unknown {
		m.t.Errorf("a unit that does not exist yet: %s, %q", last.Status, last.Summary)
	}
	m.Idempotent(`systemd.masked(h, "two")`)
	m.Fails(`systemd.unit(h, "two", content = "`+service+`")`, "two.service is masked", "systemd.unmasked")
	m.Check(`systemd.unmasked(h, "two")
systemd.unit(h, "two", content = "` + service + `")`)
	m.Run(`systemd.unmasked(h, "two")
systemd.unit(h, "two", content = "` + service + `")`)
}
