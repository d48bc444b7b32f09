package apt

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"maps"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/pgrun/pgrun/runtime/host"
)

// database is dpkg's database, or the part of it that was asked for.
type database struct {
	native  string             // the machine's own architecture
	entries map[string][]entry // by name without architecture
}

// entry is one package in one architecture.
type entry struct {
	name, arch, version string
	want                string // what dpkg was told: install, hold, deinstall, purge, unknown
	state               string // what is: installed, config-files, half-configured, ...
	reinstall           bool   // so broken that it has to be installed again
	provides            []string
}

// keepLimit is how long the database is kept that no look asks for.
const keepLimit = 10 * time.Second

// databaseKey is the key under which it is kept, see host.Keeper.
type databaseKey struct{}

// readDatabase is one that is kept, with the state of dpkg's files before it was read.
type readDatabase struct {
	database
	state filesState
}

func (readDatabase) Close() error { return nil }

// query reads the database: of all packages, which takes dpkg-query no longer than a few do, or at least of those named, where the machine has
// more than can be listed. What was read before does as long as dpkg has written nothing.
func query(ctx context.Context, r host.Reader, names ...string) (database, error) {
	state, err := lookAtFiles(ctx, r) // before the listing: where dpkg writes meanwhile, the next look finds another state
	if err != nil {
		return database{}, err
	}
	keeper, keeps := r.(host.Keeper)
	if keeps {
		if kept, ok := keeper.Kept(databaseKey{}).(readDatabase); ok && kept.state == state {
			keeper.Keep(databaseKey{}, kept, keepLimit)
			return kept.database, nil
		}
	}
	db, err := list(ctx, r, "*") // without a pattern it leaves those out that are not installed, and may be held
	if errors.Is(err, errTooLong) && len(names) > 0 {
		return list(ctx, r, slices.Concat(names, []string{"dpkg"})...) // which tells the machine's architecture
	}
	if err == nil && keeps {
		keeper.Keep(databaseKey{}, readDatabase{db, state}, keepLimit)
	}
	return db, err
}

// filesState tells whether dpkg has written: what it does is in updates, until it has written status anew, and what waits for a trigger
// in triggers. In nanoseconds.
type filesState struct{ status, size, updates, triggers int64 }

func lookAtFiles(ctx context.Context, r host.Reader) (f filesState, err error) {
	looks, inner := errgroup.WithContext(ctx)
	stat := func(path string, seen func(host.Info)) {
		looks.Go(func() error {
			info, err := r.Stat(inner, path)
			if errors.Is(err, fs.ErrNotExist) && !errors.Is(err, host.ErrAbsent) {
				return nil // dpkg-query says what is amiss
			}
			if err == nil {
				seen(info)
			}
			return err
		})
	}
	stat("/var/lib/dpkg/status", func(info host.Info) { f.status, f.size = info.ModTime.UnixNano(), info.Size })
	stat("/var/lib/dpkg/updates", func(info host.Info) { f.updates = info.ModTime.UnixNano() })
	stat("/var/lib/dpkg/triggers", func(info host.Info) { f.triggers = info.ModTime.UnixNano() })
	return f, looks.Wait()
}

var errTooLong = errors.New("dpkg-query: the list of packages is too long to read")

// list has dpkg-query list packages, by names or patterns.
func list(ctx context.Context, r host.Reader, names ...string) (database, error) {
	const format = `${Package}\t${Architecture}\t${db:Status-Want}\t${db:Status-Eflag}\t${db:Status-Status}\t${Version}\t${Provides}\n`
	c := host.Command{Argv: append([]string{"dpkg-query", "-W", "--showformat=" + format}, names...)}
	out, err := r.Look(ctx, c)
	if notFound := (*host.NotFound)(nil); errors.As(err, &notFound) {
		return database{}, fmt.Errorf("not a machine with APT: %w", err)
	}
	if err != nil {
		return database{}, err
	}
	if out.RC > 1 { // 1: some are not known
		return database{}, &host.Failed{Command: "dpkg-query -W", Output: out}
	}
	if out.Dropped > 0 {
		return database{}, errTooLong
	}
	return parseDatabase(out.Stdout), nil
}

func parseDatabase(listing string) database {
	db := database{entries: map[string][]entry{}}
	for line := range strings.Lines(listing) {
		f := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		if len(f) != 7 {
			continue
		}
		e := entry{name: f[0], arch: f[1], want: f[2], reinstall: f[3] == "reinstreq", state: f[4], version: f[5]}
		for p := range strings.SplitSeq(f[6], ",") {
			if name, _, _ := strings.Cut(strings.TrimSpace(p), " "); name != "" {
				e.provides = append(e.provides, name)
			}
		}
		db.entries[e.name] = append(db.entries[e.name], e)
		if e.name == "dpkg" && e.installed() {
			db.native = e.arch
		}
	}
	return db
}

// get returns a package's entry. Without an architecture in its name, it is the machine's own.
func (db database) get(name string) (entry, bool) {
	name, arch, qualified := strings.Cut(name, ":")
	for _, e := range db.entries[name] {
		if qualified && e.arch == arch || !qualified && (e.arch == db.native || e.arch == "all" || e.arch == "") {
			return e, true
		}
	}
	return entry{}, false
}

// provider returns a sound package that provides a name, the first of them.
func (db database) provider(name string) (entry, bool) {
	for e := range db.all() {
		if e.installed() && !e.broken() && slices.Contains(e.provides, name) {
			return e, true
		}
	}
	return entry{}, false
}

// all yields the entries in the order of names.
func (db database) all() iter.Seq[entry] {
	return func(yield func(entry) bool) {
		for _, name := range slices.Sorted(maps.Keys(db.entries)) {
			for _, e := range db.entries[name] {
				if !yield(e) {
					return
				}
			}
		}
	}
}

// broken lists the packages on which dpkg has not finished its work.
func (db database) broken() []string {
	var names []string
	for e := range db.all() {
		if e.broken() {
			names = append(names, e.name)
		}
	}
	return slices.Compact(names)
}

// unpackedInPart lists the packages that dpkg was killed while unpacking, as apt-get takes their names, and those of them that are held.
// One that was to be removed is not among them.
func (db database) unpackedInPart() (all, held []string) {
	for e := range db.all() {
		if !e.reinstall || e.want != "install" && !e.held() {
			continue
		}
		name := e.name
		if e.arch != db.native && e.arch != "all" {
			name += ":" + e.arch
		}
		all = append(all, name)
		if e.held() {
			held = append(held, name)
		}
	}
	return all, held
}

// installed reports whether the package's files are on the machine, be it half-way.
func (e entry) installed() bool {
	return e.state != "" && e.state != "not-installed" && e.state != "config-files"
}

// broken reports whether dpkg was cut off at the package, or a script of its failed. See dpkg(1), package
// states.
func (e entry) broken() bool {
	switch e.state {
	case "half-installed", "unpacked", "half-configured", "triggers-awaited", "triggers-pending":
		return true
	}
	return e.reinstall
}

func (e entry) held() bool { return e.want == "hold" }
