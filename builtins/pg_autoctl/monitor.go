package pgautoctl

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/pgrun/pgrun/runtime/builtin"
	"github.com/pgrun/pgrun/runtime/host"
	"github.com/pgrun/pgrun/runtime/postgres"
)

type monitorParams struct {
	creation
	Timeout time.Duration `star:"timeout" doc:"How long the creation may take."`
}

// checkMonitor finds out whether the creation of a monitor has finished. pg_autoctl does not say so itself;
// but a second creation over a half-made or a whole monitor does no harm, as long as its service is stopped.
func checkMonitor(ctx context.Context, r host.Reader, p monitorParams) (*builtin.Change, error) {
	if p.Timeout <= 0 {
		return nil, fmt.Errorf("timeout: %s is not a time to finish in", p.Timeout)
	}
	if err := p.validate(); err != nil {
		return nil, err
	}
	files, err := layoutOf(ctx, r, p.PGData)
	if err != nil {
		return nil, err
	}
	marked, err := exists(ctx, r, files.created())
	if err != nil {
		return nil, err
	}
	if err := p.placeTaken(ctx, r, files, marked); err != nil {
		return nil, err
	}
	data, err := clusterAt(ctx, r, p.PGData)
	if err != nil {
		return nil, err
	}
	if marked && data == usedCluster {
		return nil, nil
	}
	pgctl, err := p.findPGCtl(ctx, r)
	if err != nil {
		return nil, err
	}
	switch data {
	case otherContent:
		return nil, errOtherContent(p.PGData)
	case usedCluster:
		if works, err := p.isRunningMonitor(ctx, r); err != nil || works {
			return nil, err
		}
	}
	change := &builtin.Change{Apply: func(ctx context.Context, h host.Host) error {
		if err := p.awaitCreation(ctx, h, p.Timeout); err != nil {
			return err
		}
		if data != usedCluster {
			if err := p.removeWorkshop(ctx, h); err != nil {
				return err
			}
		}
		if data == noCluster {
			if err := p.initdb(ctx, h, pgctl); err != nil {
				return err
			}
		}
		if err := p.ensureInclude(ctx, h, p.PGData); err != nil {
			return err
		}
		if err := p.create(ctx, h, p.Timeout, "monitor", pgctl); err != nil {
			return err
		}
		return h.WriteFile(ctx, files.created(), strings.NewReader("pg_autoctl create monitor has finished.\n"), host.Attributes{Owner: osUser, Group: osUser})
	}}
	if data != usedCluster {
		leftover, err := p.leftover(ctx, r)
		if err != nil {
			return nil, err
		}
		if leftover {
			change.Summary = append(change.Summary, p.leftoverLine())
		}
	}
	if data == noCluster {
		change.Summary = append(change.Summary, "initialize a cluster in "+p.PGData)
	}
	change.Summary = append(change.Summary, fmt.Sprintf("create the monitor in %s at %s", p.PGData, joinHostPort(p.Hostname, p.Port)))
	return change, nil
}

// isRunningMonitor reports whether the service runs a whole monitor: one that was made without our mark.
func (p monitorParams) isRunningMonitor(ctx context.Context, r host.Reader) (bool, error) {
	active, err := activeState(ctx, r, p.Service)
	if err != nil || active != "active" {
		return false, err
	}
	var there bool
	err = waitOwn(ctx, "the monitor's PostgreSQL", 10*time.Second, func(ctx context.Context) error {
		err := postgres.Read(ctx, r, p.target(MonitorDatabase), func(tx *postgres.Tx) error {
			return tx.QueryRow(ctx, `SELECT EXISTS (SELECT FROM pg_extension WHERE extname = 'pgautofailover')`).Scan(&there)
		})
		if postgres.Code(err) == "3D000" { // the server runs, and has no such database
			return nil
		}
		return err
	})
	if err != nil {
		return false, errors.Join(fmt.Errorf("service: %s runs, but its PostgreSQL does not answer: see journalctl -u %s, or stop it to have the monitor created again", p.Service, p.Service), err)
	}
	return there, nil
}
