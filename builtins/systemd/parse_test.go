package systemd

import (
	"math"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestUnitName(t *testing.T) {
	for name, want := range map[string]string{
		"nginx": "nginx.service", "nginx.service": "nginx.service", "backup.timer": "backup.timer", "multi-user.target": "multi-user.target",
		"postgresql@17-main": "postgresql@17-main.service", "worker@": "worker@.service", "python3.13": "python3.13.service",
		`dev-disk-by\x2duuid.mount`: `dev-disk-by\x2duuid.mount`,
		"":                          "", "a b": "", "../x": "", "-x": "", "a/b.service": "", "x*": "", strings.Repeat("x", 250): "",
	} {
		got, err := unitName(name)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%q: got %q, %v, want %q", name, got, err, want)
		}
	}
}

func TestTemplateNames(t *testing.T) {
	for _, x := range []struct {
		name     string
		template bool
		of       string
	}{
		{"worker.service", false, ""}, {"worker@.service", true, ""}, {"worker@1.service", false, "worker@.service"},
		{"worker@a@b.timer", false, "worker@.timer"}, {"worker@a@.service", false, "worker@.service"}, {"worker@1.2.service", false, "worker@.service"},
	} {
		if got := isTemplate(x.name); got != x.template {
			t.Errorf("%s is a template: got %t", x.name, got)
		}
		if got := templateOf(x.name); got != x.of {
			t.Errorf("template of %s: got %q, want %q", x.name, got, x.of)
		}
	}
}

func TestUnitProperties(t *testing.T) {
	started := time.Date(2026, 11, 23, 8, 26, 30, 329094000, time.UTC)
	u := properties{
		"Type": "notify", "RemainAfterExit": false, "MainPID": uint32(42), "NRestarts": uint32(3),
		"ExecMainStartTimestamp": uint64(started.UnixMicro()), "ExecMainCode": int32(1), "ExecMainStatus": int32(203),
		"MemoryCurrent": uint64(math.MaxUint64), "LoadState": "loaded", "ActiveState": "activating", "SubState": "auto-restart",
		"FragmentPath":         "/etc/systemd/system/x.service",
		"ActiveEnterTimestamp": uint64(started.UnixMicro() + 621), "NeedDaemonReload": true, "CanReload": "of another type",
	}.unit("x.service")
	if u.name != "x.service" || u.pid != 42 || u.restarts != 3 || u.memory != 0 || !u.needReload || u.canReload || u.kind != "notify" ||
		u.exitCode != "exited" || u.exitStatus != "203" {
		t.Errorf("got %+v", u)
	}
	if !u.started.Equal(started) {
		t.Errorf("started: got %s, want %s", u.started, started)
	}
	if u.running() || u.stopped() || u.changing() {
		t.Error("a service that waits to be started again is neither up, nor stopped, nor about to be up")
	}
	mount := properties{"ActiveEnterTimestamp": uint64(started.UnixMicro()), "Type": "simple", "MemoryCurrent": uint64(1 << 63)}.unit("x.mount")
	if !mount.started.Equal(started) || !mount.tells() || mount.memory != 0 {
		t.Errorf("got %+v", mount)
	}
}

func TestParseUnitFile(t *testing.T) {
	f := parseUnitFile(`# a comment
[Unit]
Description=WantedBy=nothing
[Service]
Type = simple
Type=oneshot
ExecStart=/bin/sh -c 'echo [Install]' \
# in between
  ; too
  more
Environment=A=1
Environment=
Environment=B=2
[Install]
WantedBy=multi-user.target default.target
RequiredBy=x.service
Alias=y.service
WantedBy=%i.target
`)
	if got := f["Service"]["ExecStart"]; len(got) != 1 || !strings.HasPrefix(got[0], "/bin/sh") || !strings.HasSuffix(got[0], "more") {
		t.Errorf("a continued line: got %q", got)
	}
	if got := f["Service"]["Environment"]; !slices.Equal(got, []string{"B=2"}) {
		t.Errorf("an emptied list: got %q", got)
	}
	got := f.links("app.service")
	slices.Sort(got)
	want := []string{
		"/etc/systemd/system/default.target.wants/app.service", "/etc/systemd/system/multi-user.target.wants/app.service",
		"/etc/systemd/system/x.service.requires/app.service", "/etc/systemd/system/y.service",
	}
	if !f.installable() || !slices.Equal(got, want) {
		t.Errorf("links: got %q, want %q", got, want)
	}
	if !f.ends() {
		t.Error("a oneshot service does not end")
	}
	for content, want := range map[string]bool{
		"": false, "[Service]\nType=oneshot\n": true, "[Service]\nType=oneshot\nRemainAfterExit=true\n": false, "[Service]\nType=simple\n": false,
	} {
		if got := parseUnitFile(content).ends(); got != want {
			t.Errorf("%q ends: got %t, want %t", content, got, want)
		}
	}
}
