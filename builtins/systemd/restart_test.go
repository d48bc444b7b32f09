package systemd

import "strings"

// A reload that an earlier run has not come to, or that failed, is made up for, and one that was made is not made again, whatever systemd
// itself forgets; a restart makes one needless.
func testReload(m machine) {
	const unit = `systemd.unit(h, "test", enabled = None, content = "[Service]\nExecStart=sleep infinity\nExecReload=test ! -e /etc/test.broken\n")
`
	const started = `systemd.started(h, "test", reload_if_newer = ["/etc/test.conf", "/etc/nonesuch"])
`
	m.Run(unit)
	m.sh("touch /etc/test.conf")
	m.Idempotent(started)
	m.sh("touch /etc/test.conf")
	m.Check(started + started)
	m.summary("reload test.service: it was neither started nor reloaded by pgrun since /etc/test.conf was changed")
	m.Run(`systemd.reloaded(h, "test")`)
	m.Run(started)
	m.summary()

	m.sh("touch /etc/test.conf /etc/test.broken")
	m.Fails(started, "reload test.service")
	m.sh("systemctl reset-failed; rm /etc/test.broken")
	m.Check(started)
	m.summary("reload test.service: it was neither started nor reloaded by pgrun since /etc/test.conf was changed")
	m.Check(`systemd.reloaded(h, "test")
` + started)
	m.summary("reload test.service")
	m.Idempotent(started)
	m.sh("systemctl daemon-reload; systemctl reset-failed")
	m.Run(started)
	m.summary()
	for _, lost := range []string{"rm -r /run/pgrun-reloads", "echo no time > /run/pgrun-reloads/test.service"} {
		m.sh(lost)
		m.Idempotent(started)
	}

	// One that it does not survive has failed.
	m.Run(strings.Replace(unit, "test ! -e /etc/test.broken", "pkill -x sleep", 1))
	m.sh("touch /etc/test.conf")
	m.Fails(started, "reload test.service")
	m.Run(unit + started)
	m.Run(started)
	m.summary()

	// Nor is a reload enough for what changes in the midst of it.
	changing := strings.Replace(unit, "test ! -e /etc/test.broken", "touch /etc/test.conf", 1)
	m.sh("touch /etc/test.conf")
	m.Run(changing + started)
	m.summary("reload systemd's configuration", "restart test.service: its file changes")
	m.sh("touch /etc/test.conf")
	for range 2 {
		m.Run(started)
		m.summary("reload test.service: it was neither started nor reloaded by pgrun since /etc/test.conf was changed")
	}
	m.Run(unit + started)
	pid := m.pid("test")

	// What is read at a start is not read by a reload, but what a reload reads is read at a start.
	m.sh("touch -d '-1 hour' /etc/test.conf")
	const both = `systemd.started(h, "test", restart_if_newer = ["/etc/test.conf"], reload_if_newer = ["/etc/test.conf"])
`
	m.Check(`file.content(h, "/etc/test.conf", content = "x")
` + started + both + both)
	m.summary("reload test.service: it was neither started nor reloaded by pgrun since /etc/test.conf was changed",
		"restart test.service: it was started before /etc/test.conf was changed")
	if m.pid("test") != pid {
		m.t.Error("it was restarted")
	}
	m.sh("touch -d '1 hour' /etc/test.conf")
	m.Run(started)
	m.summary()

	// What a link leads to counts, and a dry run follows it, too.
	m.sh("touch -d '-1 hour' /etc/test.conf; mkdir -p /etc/test.d; ln -sf ../test.conf /etc/test.d/relative; ln -sf ./test.d//relative /etc/test.link; ln -sfn test.d /etc/test.there; ln -sf test.loop /etc/test.loop")
	const linked = `systemd.started(h, "test", reload_if_newer = ["/etc/test.link", "/etc/test.there/relative"])
`
	m.Run(linked)
	m.Run(linked)
	m.summary()
	m.Check(`file.content(h, "/etc/test.conf", content = "link")
` + linked)
	m.summary("reload test.service: it was neither started nor reloaded by pgrun since /etc/test.conf was changed")
	for _, p := range []string{"/etc/test.link", "/etc/test.there/relative", "/etc//./test.conf", "/etc/test.there/../test.conf", "/etc/test.link/"} {
		m.Check(`file.content(h, "/etc/test.conf", content = "link")
systemd.started(h, "test", reload_if_newer = ["` + p + `"])`)
		m.summary("reload test.service: it was neither started nor reloaded by pgrun since /etc/test.conf was changed")
	}
	m.sh("mkdir /etc/test.d/below; touch -d '-1 hour' /etc/test.d/below/conf")
	for written, read := range map[string]string{"/etc/test.d/below/conf": "/etc/test.there/below/conf", "/etc/test.there/below/conf": "/etc/test.d/below/conf"} {
		m.Check(`file.content(h, "` + written + `", content = "by another path")
systemd.started(h, "test", reload_if_newer = ["` + read + `"])`)
		m.summary("reload test.service: it was neither started nor reloaded by pgrun since " + read + " was changed")
	}
	m.sh("touch /etc/test.conf")
	m.Idempotent(linked)
	m.sh("rm /etc/test.link; mkdir -p /etc/test.e/deep; ln -s ../test.conf /etc/test.e/relative; ln -sfn test.e /etc/test.there; touch /etc/test.conf")
	m.Idempotent(linked)
	m.sh("ln -s ../test.conf /etc/test.e/middle; ln -s ../middle /etc/test.e/deep/relative; ln -sfn test.e/deep /etc/test.there; touch /etc/test.conf")
	m.Idempotent(linked)
	m.Fails(`systemd.started(h, "test", reload_if_newer = ["/etc/test.loop"])`, "more than 40 links")
	m.sh("rm -r /etc/test.[del]* /etc/test.there")
	m.Fails(`systemd.started(h, "test", reload_if_newer = ["/etc/*.conf"])`, "is a pattern")

	// systemd.unit reloads what it has not restarted.
	unitReloads := strings.Replace(unit, `\n")`, `\n", reload_if_newer = ["/etc/test.conf"])`, 1)
	m.Run(unitReloads)
	m.summary()
	m.sh("touch /etc/test.conf")
	m.Idempotent(unitReloads)
	m.Fails(`systemd.unit(h, "two", content = "[Service]\nExecStart=sleep infinity\n", enabled = None, reload_if_newer = ["/etc/test.conf"])`, "says how it is reloaded", "two.service")
	m.Fails(`systemd.unit(h, "two.timer", content = "[Timer]\nOnCalendar=daily\n", enabled = None, reload_if_newer = ["/etc/test.conf"])`, "two.timer is no service")
	const template = `systemd.unit(h, "test@", content = "[Service]\nExecStart=sleep infinity\n", reload_if_newer = ["/etc/test.conf"])
`
	m.Fails(template, "says how it is reloaded", "test@.service")
	const ofTemplate = `file.directory(h, "/etc/systemd/system/test@.service.d")
file.content(h, "/etc/systemd/system/test@.service.d/r.conf", content = "[Service]\nExecReload=true\n")
`
	m.Run(ofTemplate + template) // nothing of it is loaded
	m.sh("systemctl start test@1")
	m.Run(template)
	m.Run(`file.absent(h, "/etc/systemd/system/test@.service.d", recursive = True)
systemd.daemon_reload(h)`)
	m.Fails(template, "says how it is reloaded")
	m.Check(ofTemplate + template)
	m.Run(`systemd.absent(h, "test@")`)
	m.Run(`systemd.unit(h, "test", dropin = "d", content = "[Service]\nNice=1\n", enabled = None)`)
	m.Fails(`systemd.unit(h, "test", content = "[Service]\nExecStart=sleep infinity\n", enabled = None, reload_if_newer = ["/etc/test.conf"])`, "says how it is reloaded", "test.service")

	m.Run(`systemd.unit(h, "two", enabled = None, content = "[Service]\nExecStart=sleep infinity\n", state = "stopped")`)
	m.Fails(`systemd.started(h, "two", reload_if_newer = ["/etc/test.conf"])`, "two.service cannot be reloaded", "restart_if_newer")
	const dropin = `systemd.unit(h, "two", dropin = "d", content = "[Service]\n%s\n", state = None, enabled = None, reload_if_newer = ["/etc/test.conf"])
`
	m.Fails(strings.Replace(dropin, "%s", "Nice=1", 1), "says how it is reloaded", "two.service", "restart_if_newer")
	m.Idempotent(strings.Replace(dropin, "%s", "ExecReload=true", 1))
	m.Fails(strings.Replace(dropin, "%s", "Nice=1", 1), "says how it is reloaded") // for it would lose that
	m.Fails(strings.Replace(dropin, `[Service]\n%s`, "ExecReload=true", 1), "says how it is reloaded")

	// A drop-in that systemd has not read, as of a run that was cut off.
	m.sh("mkdir -p /etc/systemd/system/two.service.d; systemctl start two; printf '[Service]\nExecReload=true\n#\n' > /etc/systemd/system/two.service.d/first.conf")
	m.Idempotent(strings.NewReplacer("%s", `ExecReload=true\n#`, `"d"`, `"first"`).Replace(dropin))
	if got := m.sh("systemctl show --property=CanReload --value two; systemctl stop two; rm /etc/systemd/system/two.service.d/first.conf; systemctl daemon-reload"); got != "yes" {
		m.t.Errorf("it can be reloaded: %s", got)
	}
	m.Run(`file.absent(h, "/etc/systemd/system/two.service.d/d.conf")
systemd.daemon_reload(h)`)
	m.Idempotent(`file.content(h, "/etc/systemd/system/two.service.d/r.conf", content = "[Service]\nExecReload=true\n")
systemd.unit(h, "two", content = "[Service]\nExecStart=sleep infinity\nNice=1\n", enabled = None, reload_if_newer = ["/etc/test.conf"])`)
	m.sh("ln -s /dev/null /etc/systemd/system/two.service.d/vendor.conf")
	m.Run(strings.Replace(dropin, "%s", "Nice=1", 1))
	m.sh("rm /etc/systemd/system/two.service.d/[dv]*.conf")
	m.Run(`systemd.absent(h, "two")`)
	m.Idempotent(`file.directory(h, "/etc/systemd/system/two.service.d")
file.content(h, "/etc/systemd/system/two.service.d/r.conf", content = "[Service]\nExecReload=true\n")
systemd.unit(h, "two", content = "[Service]\nExecStart=sleep infinity\n", enabled = None, reload_if_newer = ["/etc/test.conf"])`)
	m.Run(`file.absent(h, "/etc/systemd/system/two.service.d/r.conf")
systemd.unit(h, "two", enabled = None, content = "[Service]\nExecStart=sleep infinity\n", state = "stopped")`)

	// A dry run tells of that, too, unless the unit's file changes in it, and starts once what it would start.
	const write, two = `file.content(h, "/etc/test.conf", content = "y")
`, `systemd.started(h, "two", reload_if_newer = ["/etc/test.conf"])
`
	if err := m.CheckFails(write + two); !strings.Contains(err.Error(), "two.service cannot be reloaded") {
		m.t.Errorf("got %v", err)
	}
	m.Check(`systemd.masked(h, "two.socket")
` + two) // which may write anything
	m.Check(`[f(h, "two") for f in [systemd.started, systemd.stopped, systemd.stopped, systemd.started]]`)
	m.summary("start two.service", "stop two.service", "start two.service")
	for _, absent := range []bool{false, true} {
		if absent {
			m.Run(`systemd.absent(h, "two")`)
		}
		m.Check(strings.ReplaceAll(unit, `"test"`, `"two"`) + two + write + two)
		m.summary("reload systemd's configuration", "start two.service", "reload two.service: it was neither started nor reloaded by pgrun since /etc/test.conf was changed")
	}
	m.sh("rm /etc/test.conf")
}

func testRestart(m machine) {
	m.Run(content("one"))
	m.Check(content("two"))
	m.summary("reload systemd's configuration", "restart test.service: its file changes")
	m.Run(content("one"))
	m.summary()

	m.sh("touch /etc/test.conf")
	m.Idempotent(`systemd.started(h, "test", restart_if_newer = ["/etc/test.conf", "/etc/nonesuch"])`)
	m.sh("touch /etc/test.conf")
	m.Check(`systemd.started(h, "test")`)
	m.summary()
	m.Check(`systemd.started(h, "test", restart_if_newer = "/etc/test.conf")`)
	m.summary("restart test.service: it was started before /etc/test.conf was changed")

	// A dry run tells, too, of a file that an earlier step would write, once, and not of one whose mode alone would change.
	const started = `systemd.started(h, "test", restart_if_newer = ["/etc/other.conf"])
`
	m.sh("touch -d '-1 hour' /etc/other.conf; chmod 644 /etc/other.conf")
	m.Check(`file.content(h, "/etc/other.conf", content = "x")
` + started + started)
	m.summary("restart test.service: it was started before /etc/other.conf was changed")
	m.Check(`file.content(h, "/etc/other.conf", content = "", mode = "0600")
` + started)
	m.summary("set mode 0600 of /etc/other.conf")

	// One restart is enough, whoever would make it, and a directory is newer when something in it comes or goes.
	m.Check(`file.content(h, "/etc/other.conf", content = "x")
` + strings.Replace(content("one"), `\n")`, `\n", restart_if_newer = ["/etc/other.conf"])`, 1) + "\n" + started)
	m.summary("restart test.service: it was started before /etc/other.conf was changed")
	m.Check(`file.absent(h, "/etc/other.conf")
systemd.started(h, "test", restart_if_newer = ["/etc/other.conf", "/etc"])
systemd.started(h, "test", restart_if_newer = ["/etc/other.conf", "/etc"])`)
	m.summary("remove file /etc/other.conf", "restart test.service: it was started before /etc was changed")
	m.sh("rm /etc/other.conf")

	// A file from the future would have it restarted in every run.
	m.sh("touch -d '1 hour' /etc/test.conf")
	m.Run(`systemd.started(h, "test", restart_if_newer = "/etc/test.conf")`)
	m.summary()

	before := m.pid("test")
	m.Run(strings.Replace(content("two"), `\n")`, `\n", restart_on_change = False)`, 1))
	m.summary("reload systemd's configuration")
	if m.pid("test") != before {
		m.t.Error("it was restarted")
	}
	m.Run(strings.Replace(content("two"), `\n")`, `\n", restart_on_change = False)`, 1))
	m.summary()
	m.Run(strings.Replace(content("two"), `\n")`, `\n", state = "stopped", enabled = False)`, 1))
	m.summary("disable test.service", "stop test.service")
	m.Run(strings.Replace(content("three"), `\n")`, `\n", state = None, enabled = None)`, 1))
	m.summary("reload systemd's configuration")
	m.Run(`systemd.status(h, "test").active and fail()`)
	m.sh("rm /etc/test.conf")

	// What others have done to another unit is no reason, though systemd, since 255, says of all that they need a reload.
	m.Run(content("one"))
	m.Run(`systemd.unit(h, "two", state = None, enabled = None, content = "` + service + `")`)
	m.sh("systemctl --no-reload enable two")
	before = m.pid("test")
	reload, because := []string(nil), []string(nil)
	if m.sh("systemctl show --property=NeedDaemonReload --value test") == "yes" {
		reload = []string{"reload systemd's configuration"}
		because = []string{reload[0] + ": files have changed since it has read them"}
	}
	m.Check(`systemd.daemon_reload(h)`)
	m.summary(because...)
	m.Run(content("one"))
	m.summary(reload...)
	m.Run(content("one"))
	m.summary()
	if m.pid("test") != before {
		m.t.Error("it was restarted")
	}
}
