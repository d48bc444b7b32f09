package pgautoctl

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"
	"time"

	"github.com/pgrun/pgrun/runtime/host"
)

// cluster is what there is at a PGDATA.
type cluster int

const (
	noCluster    cluster = iota // nothing, or an empty directory
	newCluster                  // initdb has run, and no server ever: it holds no data; nor does what pg_rewind has left half-way
	usedCluster                 // a server has run in it, or it is a copy of one in which a server has
	otherContent                // a directory with something that is no cluster
)

// clusterAt looks at a PGDATA.
func clusterAt(ctx context.Context, r host.Reader, pgdata string) (cluster, error) {
	entries, err := r.ReadDir(ctx, pgdata)
	if errors.Is(err, fs.ErrNotExist) || err == nil && len(entries) == 0 {
		return noCluster, nil
	}
	if err != nil {
		return 0, err
	}
	found := map[string]bool{}
	for _, e := range entries {
		found[e.Name] = true
	}
	switch {
	case !found["PG_VERSION"]:
		return otherContent, nil
	case found["postmaster.opts"], // which each start of a server writes, and a base backup and pg_rewind leave out
		found["backup_label"], found["standby.signal"], found["recovery.signal"]:
		return usedCluster, nil
	}
	return newCluster, nil
}

// errOtherContent says what to do about a directory that is none of ours.
func errOtherContent(pgdata string) error {
	return fmt.Errorf("pgdata: %s has files in it that are no PostgreSQL cluster: move them away, or name another directory", pgdata)
}

// workshop is the directory beside PGDATA in which initdb works. It has a mark in it, so that what another left under
// that name is never taken for ours.
func (c creation) workshop() string {
	return path.Join(path.Dir(c.PGData), "."+path.Base(c.PGData)+".pgrun-initdb")
}

// workshopMark is the name of the mark. It is made first and removed last.
const workshopMark = "made-by-pgrun"

// leftover reports whether an initdb that was cut off has left its workshop.
func (c creation) leftover(ctx context.Context, r host.Reader) (bool, error) {
	entries, err := r.ReadDir(ctx, c.workshop())
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	for _, e := range entries {
		if e.Name == workshopMark {
			return true, nil
		}
	}
	if len(entries) > 0 {
		return false, fmt.Errorf("pgdata: initdb is to work in %s, and there is one that pgrun has not made: move it away", c.workshop())
	}
	return true, nil // cut off before the mark
}

// removeWorkshop removes what leftover finds, or initdb has done with.
func (c creation) removeWorkshop(ctx context.Context, h host.Host) error {
	if there, err := c.leftover(ctx, h); err != nil || !there {
		return err
	}
	if err := h.Remove(ctx, path.Join(c.workshop(), "data"), true); err != nil {
		return err
	}
	return errors.Join(h.Remove(ctx, path.Join(c.workshop(), workshopMark), false), h.Remove(ctx, c.workshop(), false))
}

// leftoverLine is the summary of removeWorkshop.
func (c creation) leftoverLine() string {
	return fmt.Sprintf("remove %s, which an initdb that was cut off has left", c.workshop())
}

// initdb makes a cluster at PGDATA, all or nothing: in a directory beside it which gets its name at the end.
//
// pg_autoctl would do it, too, but with trust for all local connections, and not atomically. And because its
// creation starts the server, there would be a time in which trust is in force.
func (c creation) initdb(ctx context.Context, h host.Host, pgctl string) error {
	private := fs.FileMode(0o700)
	if err := h.Mkdir(ctx, c.workshop(), host.Attributes{Owner: osUser, Group: osUser, Mode: &private}); err != nil {
		return err
	}
	const mark = "pgrun makes a cluster here. A run that finds this removes the directory, and begins again.\n"
	if err := h.WriteFile(ctx, path.Join(c.workshop(), workshopMark), strings.NewReader(mark), host.Attributes{}); err != nil {
		return err
	}
	temporary := path.Join(c.workshop(), "data")
	argv := []string{path.Join(path.Dir(pgctl), "initdb"), "-D", temporary, "--data-checksums", "--encoding=UTF8",
		"--locale=" + c.Locale, "--auth-local=peer", "--auth-host=scram-sha-256"}
	if err := c.asPostgres(ctx, h, append(argv, c.InitdbOptions...)...); err != nil {
		return err
	}
	if err := c.ensureInclude(ctx, h, temporary); err != nil {
		return err
	}
	if err := c.asPostgres(ctx, h, "sync", "-f", temporary); err != nil {
		return err
	}
	if err := c.asPostgres(ctx, h, "mv", "-T", temporary, c.PGData); err != nil {
		return err
	}
	return c.removeWorkshop(ctx, h)
}

// ensureInclude makes the file of settings that the playbook keeps outside of PGDATA the last word of
// postgresql.conf. A base backup and pg_rewind copy that line, and not the file.
func (c creation) ensureInclude(ctx context.Context, h host.Host, dir string) error {
	if c.Include == "" {
		return nil
	}
	file, line := path.Join(dir, "postgresql.conf"), "include_if_exists '"+c.Include+"'"
	content, err := h.ReadFile(ctx, file)
	if err != nil {
		return err
	}
	text := strings.TrimRight(string(content), "\n")
	if text == line || strings.HasSuffix(text, "\n"+line) {
		return nil
	}
	mode := fs.FileMode(0o600)
	return h.WriteFile(ctx, file, strings.NewReader(text+"\n"+line+"\n"), host.Attributes{Owner: osUser, Group: osUser, Mode: &mode})
}

// asPostgres runs a command that takes seconds.
func (c creation) asPostgres(ctx context.Context, h host.Host, argv ...string) error {
	ctx, cancel := context.WithTimeoutCause(ctx, 10*time.Minute, fmt.Errorf("%s has not ended after 10 minutes", argv[0]))
	defer cancel()
	cmd := host.Command{Argv: argv, User: osUser}
	_, err := host.Succeeded(cmd)(h.Run(ctx, cmd))
	return err
}

// findPGCtl returns the path of the pg_ctl to use: the one asked for, that of the cluster's version, or
// that of the only version which is installed.
func (c creation) findPGCtl(ctx context.Context, r host.Reader) (string, error) {
	const versions = "/usr/lib/postgresql"
	if c.PGCtl != "" {
		if err := checkPath("pgctl", c.PGCtl); err != nil {
			return "", err
		}
		if there, err := exists(ctx, r, c.PGCtl); err != nil || !there {
			return "", errors.Join(err, host.NotThere("pgctl: %s is not there: install the server package first", c.PGCtl))
		}
		return c.PGCtl, nil
	}
	if version, err := r.ReadFile(ctx, path.Join(c.PGData, "PG_VERSION")); err == nil {
		return path.Join(versions, strings.TrimSpace(string(version)), "bin/pg_ctl"), nil
	}
	entries, err := r.ReadDir(ctx, versions)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	var found []string
	for _, e := range entries {
		pgctl := path.Join(versions, e.Name, "bin/pg_ctl")
		if there, err := exists(ctx, r, pgctl); err != nil {
			return "", err
		} else if there {
			found = append(found, pgctl)
		}
	}
	switch len(found) {
	case 0:
		return "", host.NotThere("no PostgreSQL server in %s: install postgresql-VERSION first", versions)
	case 1:
		return found[0], nil
	}
	return "", fmt.Errorf("pgctl: more than one PostgreSQL is installed: name one of %s", strings.Join(found, ", "))
}
