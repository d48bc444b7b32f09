package apt

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/pgrun/pgrun/runtime/builtin"
	"github.com/pgrun/pgrun/runtime/host"
)

type installParams struct {
	Packages builtin.Strings                 `star:"packages,required" doc:"Package names; \"nginx=1.22.*\" asks for a version, by name or by pattern."`
	State    string                          `star:"state" choices:"present latest" doc:"present: installed in any version; latest: in the newest that the repositories have. apt.remove removes."`
	Update   builtin.Optional[time.Duration] `star:"update" doc:"When something has to be installed, the package lists are refreshed first where they are older than this, or a repository was changed since; None: never. With state = \"latest\" old lists alone are a reason."`

	Recommends builtin.Optional[bool] `star:"recommends" doc:"Whether recommended packages come along. Left out: as APT is configured on the machine; it installs them unless told otherwise."`
	Downgrade  bool                   `star:"downgrade" doc:"Whether a package may be brought back to an older version."`
	Release    string                 `star:"default_release" doc:"The release to take packages from, such as \"trixie-backports\"."`

	Timeout     time.Duration `star:"timeout" doc:"The longest that the installation may take."`
	LockTimeout time.Duration `star:"lock_timeout" doc:"How long to wait for another package manager to finish."`
}

// versions is what apt.install learned.
type versions struct {
	Versions map[string]string `star:"versions" doc:"The installed version of each package."`
}

func checkInstall(ctx context.Context, r host.Reader, p installParams) (*builtin.Change, error) {
	want, err := parseWanted(p.Packages)
	if err != nil {
		return nil, err
	}
	if strings.ContainsAny(p.Release, " \t\n") || strings.HasPrefix(p.Release, "-") {
		return nil, fmt.Errorf("default_release: %q is not the name of a release", p.Release)
	}
	db, err := query(ctx, r, names(want)...)
	if err != nil {
		return nil, err
	}
	if p.State == present && len(db.unsatisfied(want)) == 0 {
		return &builtin.Change{Learned: db.versions(want)}, nil
	}
	i := &installation{params: p, want: want}
	return i.check(ctx, r)
}

// unsatisfied lists the packages that are not installed soundly in a version that is wanted.
func (db database) unsatisfied(want []wanted) []wanted {
	var all []wanted
	for _, w := range want {
		e, ok := db.get(w.name)
		if !ok || !e.installed() || e.broken() || !w.matches(e.version) {
			all = append(all, w)
		}
	}
	return all
}

// versions returns the versions installed; for a virtual package that of the one which provides it.
func (db database) versions(want []wanted) versions {
	v := versions{map[string]string{}}
	for _, w := range want {
		e, ok := db.get(w.name)
		if !ok || !e.installed() {
			e, _ = db.provider(w.name)
		}
		v.Versions[w.name] = e.version
	}
	return v
}

// installation is one call of apt.install that found something amiss.
type installation struct {
	params installParams
	want   []wanted

	todo    []wanted          // what apt-get is told to install
	broken  []string          // what dpkg left half-done, on the whole machine
	known   map[string]policy // what the lists have of the wanted packages
	lists   lists
	refresh bool // fetch the lists first
}

// check looks closer: at the whole of dpkg's database and at the package lists.
func (i *installation) check(ctx context.Context, r host.Reader) (*builtin.Change, error) {
	db, err := query(ctx, r)
	if err != nil {
		return nil, err
	}
	if i.known, err = policies(ctx, r, i.params.Release, names(i.want)...); err != nil {
		return nil, err
	}
	if i.lists, err = lookAtLists(ctx, r); err != nil {
		return nil, err
	}
	i.refresh = i.params.Update.Set && i.lists.stale(i.params.Update.Value)
	if i.todo, err = i.missing(ctx, db); err != nil {
		return nil, err
	}
	if len(i.todo) == 0 && !(i.params.State == latest && i.refresh) {
		return &builtin.Change{Learned: db.versions(i.want)}, nil
	}
	if i.params.State == latest && i.refresh {
		i.todo = i.upgradable(db)
	}
	if i.broken, err = unfinished(ctx, r, db); err != nil {
		return nil, err
	}
	if !i.refresh {
		if err := i.unknown(ctx, r); err != nil {
			return nil, err
		}
	}
	change := &builtin.Change{}
	if change.Summary, err = i.summary(ctx, r, db); err != nil {
		return nil, err
	}
	change.Apply = func(ctx context.Context, h host.Host) error { return i.apply(ctx, h, change) }
	return change, nil
}

// missing lists what has to be installed or upgraded, by what is known so far.
func (i *installation) missing(ctx context.Context, db database) ([]wanted, error) {
	unsatisfied := db.unsatisfied(i.want)
	var todo []wanted
	for _, w := range i.want {
		e, _ := db.get(w.name)
		p := i.policyOf(w, db)
		switch {
		case slices.Contains(unsatisfied, w):
			if i.provided(w, db) {
				continue
			}
			if _, pending := builtin.DryRun(ctx); e.held() && !e.broken() && !pending {
				return nil, fmt.Errorf("%s is held%s: end that with apt.unhold first", w.name, at(e))
			}
			todo = append(todo, w)
		case i.params.State == latest && w.version == "" && !e.held() && p.candidate != "" && p.candidate != e.version:
			todo = append(todo, w)
		}
	}
	return todo, nil
}

// upgradable lists the packages that fresh lists may have something newer for.
func (i *installation) upgradable(db database) []wanted {
	var all []wanted
	for _, w := range i.want {
		if e, _ := db.get(w.name); !e.held() && !i.provided(w, db) {
			all = append(all, w)
		}
	}
	return all
}

// provided reports whether a package is a virtual one that an installed package provides.
func (i *installation) provided(w wanted, db database) bool {
	e, _ := db.get(w.name)
	_, provided := db.provider(w.name)
	return provided && w.version == "" && !e.installed() && i.policyOf(w, db).candidate == ""
}

func at(e entry) string {
	if !e.installed() {
		return ""
	}
	return " at " + e.version
}

// policyOf finds what the lists have of a package: apt-cache leaves out the machine's own architecture.
func (i *installation) policyOf(w wanted, db database) policy {
	if p, ok := i.known[w.name]; ok {
		return p
	}
	return i.known[strings.TrimSuffix(w.name, ":"+db.native)]
}

// unfinished lists the packages that dpkg has to finish before APT does anything.
func unfinished(ctx context.Context, r host.Reader, db database) ([]string, error) {
	broken := db.broken()
	if len(broken) > 0 {
		return broken, nil
	}
	// dpkg's journal: entries in it mean that dpkg was killed, and apt-get refuses to work.
	journal, err := r.ReadDir(ctx, "/var/lib/dpkg/updates")
	if err != nil && !host.Missing(err) {
		return nil, err
	}
	for _, f := range journal {
		if strings.Trim(f.Name, "0123456789") == "" {
			return []string{"dpkg's last step"}, nil
		}
	}
	return nil, nil
}

// summary says what would be done. In a dry run APT simulates it, to name versions and all else that comes
// with it; otherwise apply tells afterwards what was done.
func (i *installation) summary(ctx context.Context, r host.Reader, db database) ([]string, error) {
	lines := repairs(i.broken)
	if i.refresh {
		lines = append(lines, fmt.Sprintf("refresh the package lists (%s)", i.lists))
	}
	if dry, _ := builtin.DryRun(ctx); dry && len(i.todo) > 0 && len(i.broken) == 0 && !i.lists.empty {
		t, out, err := simulate(ctx, r, i.lists, i.arguments()...)
		if err == nil {
			return append(lines, t.summary(names(i.want))...), nil
		}
		if !i.refresh {
			return nil, explain(ctx, r, i.params.Release, out, err)
		}
	}
	for _, w := range i.todo {
		e, _ := db.get(w.name)
		candidate := i.policyOf(w, db).candidate
		switch {
		case e.installed() && e.broken() && w.matches(e.version):
			// one of the repairs
		case e.installed() && w.matches(e.version) && (candidate == e.version || i.refresh):
			lines = append(lines, fmt.Sprintf("upgrade %s if there is something newer than %s", w.name, e.version))
		case w.version != "":
			lines = append(lines, fmt.Sprintf("install %s %s", w.name, w.version))
		case candidate != "" && e.installed():
			lines = append(lines, fmt.Sprintf("upgrade %s %s -> %s", w.name, e.version, candidate))
		case candidate != "":
			lines = append(lines, fmt.Sprintf("install %s %s", w.name, candidate))
		default:
			lines = append(lines, fmt.Sprintf("install %s (version known after apt update)", w.name))
		}
	}
	return lines, nil
}

func repairs(broken []string) []string {
	if len(broken) == 0 {
		return nil
	}
	return []string{"finish an interrupted installation: " + some(broken, 12)}
}

// arguments are those of apt-get.
func (i *installation) arguments() []string {
	args := []string{"install"}
	if i.params.Recommends.Set {
		if i.params.Recommends.Value {
			args = append(args, "--install-recommends")
		} else {
			args = append(args, "--no-install-recommends")
		}
	}
	if i.params.Downgrade {
		args = append(args, "--allow-downgrades")
	}
	if i.params.Release != "" {
		args = append(args, "-t="+i.params.Release)
	}
	return append(args, arguments(i.todo)...)
}

// apply repairs, refreshes and installs, and tells what came of it.
func (i *installation) apply(ctx context.Context, h host.Host, change *builtin.Change) error {
	ctx, cancel := context.WithTimeout(ctx, i.params.Timeout)
	defer cancel()
	g := &get{h, i.params.LockTimeout}
	if len(i.broken) > 0 {
		if err := g.repair(ctx); err != nil {
			return err
		}
	}
	if i.refresh {
		if err := g.refresh(ctx); err != nil {
			return err
		}
	}
	did := repairs(i.broken)
	if i.refresh {
		did = append(did, fmt.Sprintf("refresh the package lists (%s)", i.lists))
	}
	if len(i.todo) > 0 {
		out, err := g.transact(ctx, "install "+strings.Join(arguments(i.todo), " "), i.arguments()...)
		if err != nil {
			return explain(ctx, h, i.params.Release, out, err)
		}
		did = append(did, parseTransaction(out.Stdout).summary(names(i.want))...)
	}
	db, err := query(ctx, h)
	if err != nil {
		return err
	}
	for _, w := range db.unsatisfied(i.want) {
		if _, provided := db.provider(w.name); !provided || w.version != "" {
			return fmt.Errorf("apt-get reported success, but %s is not installed", w)
		}
	}
	change.Summary, change.Learned = did, db.versions(i.want)
	return nil
}
