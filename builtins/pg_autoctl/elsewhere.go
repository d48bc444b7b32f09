package pgautoctl

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/pgrun/pgrun/runtime/host"
)

// A host's service and its port are one server's. Where either belongs to another PGDATA, a server that is created
// takes that one's place, and the old data, though nobody removes it, is out of reach: an application would find an
// empty database. A PGDATA whose path is made of PostgreSQL's version does that when the version changes. That error is
// therefore none of those which a dry run takes for "not there yet".

// placeTaken says which other cluster the server would take the place of: on the port, and, where the server is not there
// yet, as the service.
func (c creation) placeTaken(ctx context.Context, r host.Reader, own layout, there bool) error {
	if !there {
		if err := service(c.Service).taken(ctx, r, own.pgdata); err != nil {
			return err
		}
	}
	all, err := own.all(ctx, r)
	if err != nil {
		return err
	}
	for _, l := range all {
		if l == own {
			continue
		}
		settings, err := readSettings(ctx, r, l)
		if err != nil {
			return err
		}
		if settings["postgresql.port"] != strconv.Itoa(c.Port) {
			continue
		}
		if err := inUse(ctx, r, own.pgdata, l.pgdata, fmt.Sprintf("the %s on port %d", settings["pg_autoctl.role"], c.Port)); err != nil {
			return err
		}
	}
	return nil
}

// taken says which other cluster the service runs, where it does not run the one in pgdata yet.
func (s service) taken(ctx context.Context, r host.Reader, pgdata string) error {
	c := host.Command{Argv: []string{"systemctl", "show", "--property=Environment", "--value", string(s)}}
	out, err := host.Succeeded(c)(r.Look(ctx, c))
	if err != nil {
		return err
	}
	for _, variable := range strings.Fields(out.Stdout) {
		other, ok := strings.CutPrefix(variable, "PGDATA=")
		if !ok || !path.IsAbs(other) || path.Clean(other) == pgdata {
			continue
		}
		if resolved, err := resolve(ctx, r, other); err != nil || resolved == pgdata {
			return err
		}
		return inUse(ctx, r, pgdata, other, string(s))
	}
	return nil
}

// inUse is the error where other holds a cluster that a server has run in.
func inUse(ctx context.Context, r host.Reader, pgdata, other, whose string) error {
	if found, err := clusterAt(ctx, r, other); err != nil || found != usedCluster {
		return err
	}
	return fmt.Errorf("pgdata: the data of %s is in %s, and a server in %s would take its place: leave pgdata as it is, and the PostgreSQL version "+
		"that it may be made of. To have another version, dump the data and restore it in another formation. "+
		"If the data is not wanted any more, stop the service and move %s away", whose, other, pgdata, other)
}

// all finds the layouts of all PGDATAs for which pg_autoctl has settings.
func (l layout) all(ctx context.Context, r host.Reader) (found []layout, err error) {
	list := func(ctx context.Context, pgdata string) ([]host.Info, error) {
		entries, err := r.ReadDir(ctx, path.Dir(layout{l.home, pgdata}.settings()))
		if errors.Is(err, fs.ErrNotExist) {
			err = nil
		}
		return entries, err
	}
	// On most machines there are only the directories on the way to its own, which are listed at once.
	way := []string{"/"}
	for at := l.pgdata; at != "/"; at = path.Dir(at) {
		way = append(way, at)
	}
	listed := make([][]host.Info, len(way))
	looks, inner := errgroup.WithContext(ctx)
	for i, at := range way {
		looks.Go(func() (err error) {
			listed[i], err = list(inner, at)
			return err
		})
	}
	if err := looks.Wait(); err != nil {
		return nil, err
	}
	looked := 0
	var walk func(pgdata string) error
	walk = func(pgdata string) (err error) {
		if looked++; looked > maxNodes {
			return fmt.Errorf("there are more than %d directories in %s", maxNodes, path.Dir(layout{l.home, "/"}.settings()))
		}
		var entries []host.Info
		if i := slices.Index(way, pgdata); i >= 0 {
			entries = listed[i]
		} else if entries, err = list(ctx, pgdata); err != nil {
			return err
		}
		at := layout{l.home, pgdata}
		for _, e := range entries {
			switch {
			case e.Mode.IsDir():
				if err := walk(path.Join(pgdata, e.Name)); err != nil {
					return err
				}
			case e.Name == path.Base(at.settings()):
				found = append(found, at)
			}
		}
		return nil
	}
	return found, walk("/")
}
