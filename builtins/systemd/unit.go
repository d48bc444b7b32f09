package systemd

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/pgrun/pgrun/builtins/file"
	"github.com/pgrun/pgrun/runtime/builtin"
	"github.com/pgrun/pgrun/runtime/host"
)

type unitParams struct {
	Name    string       `star:"name,required" doc:"The unit's name; without a suffix, a service's."`
	Content builtin.Text `star:"content,required" doc:"The whole content of the file."`
	Dropin  string       `star:"dropin" doc:"The name of a drop-in, its .conf left out or not: the file is then /etc/systemd/system/NAME.d/DROPIN.conf, and the unit must exist."`

	Enabled builtin.Optional[bool]   `star:"enabled" doc:"Whether the unit starts at boot; None: as it is."`
	State   builtin.Optional[string] `star:"state" choices:"started stopped" doc:"started or stopped; None: as it is."`

	RestartOnChange bool                           `star:"restart_on_change" doc:"Whether a running unit is restarted when its file, or a drop-in of it, in /etc/systemd/system is newer than its process."`
	RestartIfNewer  builtin.Strings                `star:"restart_if_newer" doc:"Other files of the host that the unit reads when it starts: a running one is restarted if one of them is newer than its process."`
	ReloadIfNewer   builtin.Strings                `star:"reload_if_newer" doc:"Of a service, files of the host that it reads when it is reloaded, too: see systemd.started."`
	Mode            builtin.Optional[builtin.Mode] `star:"mode" doc:"The file's permissions. Left out: 0644, or 0600 if the content holds a secret."`
	runParams
}

func checkUnit(ctx context.Context, r host.Reader, p unitParams) (*builtin.Change, error) {
	name, err := unitName(p.Name)
	if err != nil {
		return nil, err
	}
	if err := p.check(name); err != nil {
		return nil, err
	}
	spec := p.spec(name)
	var written *builtin.Change
	if p.Dropin == "" {
		written, err = file.PlanContent(ctx, r, spec)
	} else {
		written, err = file.PlanContentAndParents(ctx, r, spec)
	}
	if err != nil {
		return nil, err
	}
	if isTemplate(name) {
		return p.planTemplate(ctx, r, name, spec.Path, written)
	}
	u, err := show(ctx, r, name, p.Timeout)
	if err == nil && u.changing() && !written.Needed() {
		u, err = steady(ctx, r, name, p.Timeout)
	}
	if err != nil {
		return nil, err
	}
	u.needReload = u.needReload || p.unread(u, spec.Path)
	if _, pending := builtin.DryRun(ctx); !pending {
		if err := p.possible(u); err != nil {
			return nil, err
		}
	}
	if err := p.checkReload(ctx, r, u, spec.Path, written); err != nil {
		return nil, err
	}
	g, err := p.goal(ctx, r, u, spec.Path, written)
	if err != nil {
		return nil, err
	}
	rest, err := g.plan(ctx, r, u, written.Needed())
	if err != nil {
		return nil, err
	}
	return builtin.Join(written, rest), nil
}

// check looks for mistakes in the parameters alone, before anything is asked of the machine.
func (p unitParams) check(name string) error {
	if strings.TrimSpace(p.Content.Reveal()) == "" {
		return fmt.Errorf("content: it is empty")
	}
	if err := errors.Join(absolute("restart_if_newer", p.RestartIfNewer), absolute("reload_if_newer", p.ReloadIfNewer)); err != nil {
		return err
	}
	if len(p.ReloadIfNewer) > 0 && !isService(name) {
		return fmt.Errorf("reload_if_newer: %s is no service: use restart_if_newer", name)
	}
	if p.Dropin != "" {
		if !regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9:_.@-]*$`).MatchString(p.Dropin) {
			return fmt.Errorf("dropin: %q: write the file's name without its directory, such as %q", p.Dropin, "limits")
		}
		return nil
	}
	content := parseUnitFile(p.Content.Reveal())
	if p.Enabled.Set && p.Enabled.Value && !content.installable() && !isTemplate(name) {
		return fmt.Errorf("enabled: the content has no [Install] section that says what starts %s at boot: add one, with WantedBy=multi-user.target, or give enabled = None", name)
	}
	if p.State.Set && p.State.Value == "started" && content.ends() && !isTemplate(name) {
		return endsError(name)
	}
	return nil
}

func absolute(param string, paths []string) error {
	for _, f := range paths {
		switch {
		case !path.IsAbs(f):
			return fmt.Errorf("%s: %q is not an absolute path", param, f)
		case strings.ContainsAny(f, "*?["):
			return fmt.Errorf("%s: %q is a pattern: name each file, or their directory, which is newer when one comes or goes", param, f)
		}
	}
	return nil
}

// spec is the file to write.
func (p unitParams) spec(name string) file.Spec {
	s := file.Spec{Path: path.Join(unitDir, name), Content: p.Content}
	if p.Dropin != "" {
		s.Path = path.Join(unitDir, name+".d", strings.TrimSuffix(p.Dropin, ".conf")+".conf")
	}
	mode := builtin.ModeOf(0o644)
	if p.Content.IsSecret() {
		mode = builtin.ModeOf(0o600)
	}
	if p.Mode.Set {
		mode = p.Mode.Value
	}
	m := fs.FileMode(mode)
	s.Attributes = host.Attributes{Owner: "root", Group: "root", Mode: &m}
	return s
}

// checkReload fails for a unit that is to be reloaded and cannot be, with its file at own as it is to be.
func (p unitParams) checkReload(ctx context.Context, r host.Reader, u unit, own string, written *builtin.Change) error {
	switch {
	case len(p.ReloadIfNewer) == 0, u.canReload && !written.Needed(), unsure(ctx), p.Dropin != "" && u.fragment == "":
		return nil
	}
	says, err := u.onDisk(ctx, r, own, p.Content.Reveal())
	if err != nil || says.reloads() {
		return err
	}
	return fmt.Errorf("reload_if_newer: neither the content nor another file of %s says how it is reloaded: add ExecReload= or Type=notify-reload, or use restart_if_newer", u.name)
}

// unread reports whether systemd has not read the drop-in: 252 does not notice the first of a unit by itself. It goes by the name alone, for
// systemd lists another of that name where that comes first, and resolves links among the directories.
func (p unitParams) unread(u unit, at string) bool {
	same := func(dropin string) bool { return path.Base(dropin) == path.Base(at) }
	return p.Dropin != "" && (u.load == "loaded" || u.load == "bad-setting") && !slices.ContainsFunc(u.dropins, same)
}

// possible says why the unit cannot be brought to the state asked for.
func (p unitParams) possible(u unit) error {
	switch {
	case u.masked():
		return maskedError(u.name)
	case p.Dropin != "":
		return u.exists()
	}
	return nil
}

func maskedError(name string) error {
	return fmt.Errorf("%s is masked: end that with systemd.unmasked first", name)
}

// goal is what the unit is to be once its file is written.
func (p unitParams) goal(ctx context.Context, r host.Reader, u unit, path string, written *builtin.Change) (goal, error) {
	g := goal{reload: true, newer: p.RestartIfNewer, unread: p.ReloadIfNewer, runParams: p.runParams}
	if p.State.Set {
		running := p.State.Value == "started"
		g.running = &running
	}
	if p.Enabled.Set {
		g.enabled = &p.Enabled.Value
	}
	content := parseUnitFile(p.Content.Reveal())
	g.installable = content.installable()
	if p.Dropin == "" {
		g.links = content.links(u.name)
	}
	if !p.RestartOnChange {
		return g, nil
	}
	if written.Needed() {
		g.restart = "its file changes"
	}
	files, err := u.files(ctx, r)
	g.newer = nil
	for _, file := range slices.Concat([]string{path}, files, p.RestartIfNewer) {
		if !slices.Contains(g.newer, file) {
			g.newer = append(g.newer, file)
		}
	}
	return g, err
}

// planTemplate writes a template's file and restarts the instances that run with an older one.
func (p unitParams) planTemplate(ctx context.Context, r host.Reader, name, path string, written *builtin.Change) (*builtin.Change, error) {
	running, err := instances(ctx, r, name, p.Timeout)
	if err != nil {
		return nil, err
	}
	if len(running) == 0 {
		if err := p.checkReload(ctx, r, unit{name: name}, path, written); err != nil {
			return nil, err
		}
	}
	stale := written.Needed()
	var restarts []*builtin.Change
	for _, u := range running {
		if err := p.checkReload(ctx, r, u, path, written); err != nil {
			return nil, err
		}
		g, err := p.goal(ctx, r, u, path, written)
		if err != nil {
			return nil, err
		}
		g.running, g.enabled = nil, nil
		stale = stale || u.needReload || p.unread(u, path)
		u.needReload = false // once for all, below
		restart, err := g.plan(ctx, r, u, false)
		if err != nil {
			return nil, err
		}
		restarts = append(restarts, restart)
	}
	var reload *builtin.Change
	if stale {
		reload = step(p.Timeout, "reload systemd's configuration", "daemon-reload")
	}
	return builtin.Join(append([]*builtin.Change{written, reload}, restarts...)...), nil
}
