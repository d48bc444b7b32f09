package apt

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"github.com/pgrun/pgrun/runtime/builtin"
	"github.com/pgrun/pgrun/runtime/host"
)

// lists says in what state the machine's package lists are.
type lists struct {
	empty     bool      // never fetched, or deleted
	refreshed time.Time // when they were last fetched whole
	changed   bool      // a repository or a key was changed since
}

const (
	listsDir    = "/var/lib/apt/lists"
	sourcesFile = "/etc/apt/sources.list"
	sourcesDir  = "/etc/apt/sources.list.d"
	keyringsDir = "/etc/apt/keyrings"

	// refreshedStamp is touched after each complete refresh: by us and by Ubuntu's APT, and it is what
	// Ansible looks at. Where it is missing, the directory of the lists has to do, although its time does
	// not change when a refresh finds nothing new.
	refreshedStamp = "/var/lib/apt/periodic/update-success-stamp"
)

// lookAtLists reads the state of the lists: a handful of stats, no command.
func lookAtLists(ctx context.Context, r host.Reader) (lists, error) {
	l := lists{empty: true}
	found, err := r.ReadDir(ctx, listsDir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return l, err
	}
	for _, f := range found {
		if f.Mode.IsRegular() && f.Name != "lock" {
			l.empty = false
		}
	}
	for _, path := range []string{refreshedStamp, listsDir} {
		stamp, err := r.Stat(ctx, path)
		if err == nil {
			l.refreshed = stamp.ModTime
			break
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return l, err
		}
	}
	newest, err := newestSource(ctx, r)
	l.changed = newest.After(l.refreshed)
	if replaced := (*host.Replaced)(nil); errors.As(err, &replaced) {
		l.changed, err = true, nil
	}
	return l, err
}

// newestSource is when the repositories or their keys were last changed. A file that was renamed into its
// directory with an old time of its own shows in the directory's.
func newestSource(ctx context.Context, r host.Reader) (time.Time, error) {
	var newest time.Time
	see := func(i host.Info, err error) error {
		if err == nil && i.ModTime.After(newest) {
			newest = i.ModTime
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	}
	for _, path := range []string{sourcesFile, sourcesDir, keyringsDir} {
		if err := see(r.Stat(ctx, path)); err != nil {
			return newest, err
		}
	}
	files, err := r.ReadDir(ctx, sourcesDir)
	if errors.Is(err, fs.ErrNotExist) {
		return newest, nil
	}
	for _, f := range files {
		if strings.HasSuffix(f.Name, ".list") || strings.HasSuffix(f.Name, ".sources") {
			_ = see(f, nil)
		}
	}
	return newest, err
}

// stale reports whether the lists have to be refreshed before something is installed by them. Lists from
// the future, left by a clock that was wrong, are stale as well.
func (l lists) stale(maxAge time.Duration) bool {
	age := time.Since(l.refreshed)
	return l.empty || l.changed || age >= maxAge || age < -maxAge
}

// noCache are the options that keep a dry run from renewing APT's caches in /var/cache/apt, as every use of APT
// does: pkgcache.bin, which each installation puts out of date, at 0.1 s; and srcpkgcache.bin, which only
// other lists do, at 0.5 s.
func (l lists) noCache(ctx context.Context) []string {
	dry, _ := builtin.DryRun(ctx)
	switch {
	case !dry:
		return nil
	case l.empty || l.changed:
		return []string{"-oDir::Cache::pkgcache=", "-oDir::Cache::srcpkgcache="}
	}
	return []string{"-oDir::Cache::pkgcache="}
}

// String says why the lists are refreshed.
func (l lists) String() string {
	switch {
	case l.empty:
		return "there are none yet"
	case l.refreshed.Unix() <= 0:
		return "the last refresh was not completed"
	case l.changed:
		return "a repository was changed"
	}
	return fmt.Sprintf("they are from %s", l.refreshed.UTC().Format("2006-01-02 15:04 MST"))
}

// refresh fetches the lists.
//
// That one of several repositories cannot be reached is an error here; by itself apt-get would call it a
// warning, and what is then installed would be a matter of luck. Until all of it has worked the stamp says
// 1970, so that what a refresh leaves behind that failed, or was cut off, is not taken for complete. (APT's
// own hook Post-Invoke-Success will not do: it runs where at least one repository could be reached.)
func (g *get) refresh(ctx context.Context) error {
	const unfinished = "mkdir -p /var/lib/apt/periodic && touch -d @0 " + refreshedStamp
	const what = "refresh the package lists"
	_, err := g.run(ctx, what, "apt-get", "update", "-q", "-oAPT::Update::Error-Mode=any", "-oAPT::Update::Pre-Invoke::="+unfinished)
	if err == nil {
		_, err = g.run(ctx, what, "touch", refreshedStamp)
		return err
	}
	if ctx.Err() == nil { // Ubuntu's hook may have touched it
		_, stampErr := g.run(ctx, what, "sh", "-c", unfinished)
		err = errors.Join(err, stampErr)
	}
	return err
}
