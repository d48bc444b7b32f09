package pgautoctl

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/pgrun/pgrun/runtime/builtin"
	"github.com/pgrun/pgrun/runtime/host"
)

type nodeParams struct {
	creation
	Name              string                 `star:"name,required" doc:"The node's name; best the host's."`
	Monitor           builtin.Host           `star:"monitor,required" doc:"The monitor's host."`
	MonitorHostname   string                 `star:"monitor_hostname,required" doc:"The monitor's hostname: the address by which this node reaches it."`
	MonitorPort       int                    `star:"monitor_port" doc:"Port of the monitor's PostgreSQL."`
	Hosts             builtin.HostList       `star:"hosts" doc:"Hosts of all data nodes of the formation, with the same pgdata: no first node is created while one of them holds a node that the monitor does not know."`
	Formation         string                 `star:"formation" doc:"Name of the formation."`
	Database          string                 `star:"dbname" doc:"The database that pg_autoctl works in."`
	CandidatePriority builtin.Optional[int]  `star:"candidate_priority" doc:"0 to 100, for a new node; pg_autoctl.node_settings changes it later."`
	ReplicationQuorum builtin.Optional[bool] `star:"replication_quorum" doc:"Whether commits may wait for a new node; pg_autoctl.node_settings changes it later."`
	Timeout           time.Duration          `star:"timeout" doc:"How long the creation may take, the base backup included."`
}

type nodeResult struct {
	First *bool `star:"first" doc:"Whether a node was created as the first of its formation; None where none was created."`
}

func (p nodeParams) validate() error {
	switch {
	case p.MonitorPort < 1 || p.MonitorPort > 65535:
		return fmt.Errorf("monitor_port: %d is not between 1 and 65535", p.MonitorPort)
	case p.Formation == "" || p.Database == "" || p.Formation[0] == '-' || p.Database[0] == '-':
		return errors.New("formation, dbname: are names")
	case p.Timeout <= 0:
		return fmt.Errorf("timeout: %s is not a time to finish in", p.Timeout)
	}
	return errors.Join(checkNodeName("name", p.Name), checkPriority(p.CandidatePriority), checkAddress("monitor_hostname", p.MonitorHostname), p.creation.validate())
}

// checkNodeName refuses what no node can be called.
func checkNodeName(param, name string) error {
	const plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-"
	if name == "" || name[0] == '-' || strings.Trim(name, plain) != "" {
		return fmt.Errorf("%s: %q is no name for a node: use letters, digits, _ . and -", param, name)
	}
	return nil
}

// onMonitor is where the monitor's server listens on its host.
func (p nodeParams) onMonitor() server { return server{Port: p.MonitorPort, Socket: p.Socket} }

func checkNode(ctx context.Context, r host.Reader, p nodeParams) (*builtin.Change, error) {
	if err := p.validate(); err != nil {
		return nil, err
	}
	files, err := layoutOf(ctx, r, p.PGData)
	if err != nil {
		return nil, err
	}
	marks, err := files.marks(ctx, r)
	if err != nil {
		return nil, err
	}
	var taken error
	var looks sync.WaitGroup
	looks.Go(func() { taken = p.placeTaken(ctx, r, files, marks.finished()) })
	now, err := p.look(ctx, r, files, marks)
	if looks.Wait(); taken != nil { // first, for it is not one that a dry run passes over
		return nil, taken
	}
	if dry, _ := builtin.DryRun(ctx); dry && host.Missing(err) && now.State && p.Monitor.Pending("") {
		// Only the monitor is missing, and it would be there by now.
		return &builtin.Change{Summary: []string{"see whether the new monitor has to know " + p.Name}, Apply: func(context.Context, host.Host) error { return nil }}, nil
	}
	if err != nil {
		return nil, err
	}
	next, err := p.decide(now)
	if err != nil || next.nothing() {
		return &builtin.Change{Learned: nodeResult{}}, err
	}
	if next.First {
		if err := p.firstOfAll(ctx); err != nil {
			return nil, err
		}
		if next.Leftover, err = p.leftover(ctx, r); err != nil {
			return nil, err
		}
	}
	pgctl, err := p.findPGCtl(ctx, r)
	if err != nil {
		return nil, err
	}
	learned := &nodeResult{}
	change := &builtin.Change{Summary: p.summary(next, files), Learned: learned}
	if next.Create {
		learned.First = &next.First
		change.Writes = []string{files.settings()}
	}
	change.Apply = func(ctx context.Context, h host.Host) error {
		if next.Wait {
			if err := p.awaitCreation(ctx, h, p.Timeout); err != nil {
				return err
			}
			rest, err := checkNode(ctx, h, p)
			if err != nil || !rest.Needed() {
				return err
			}
			if again, ok := rest.Learned.(*nodeResult); ok {
				*learned = *again
			}
			change.Summary = append(change.Summary, rest.Summary...)
			return rest.Apply(ctx, h)
		}
		return p.make(ctx, h, files, pgctl, next)
	}
	return change, nil
}

// firstOfAll says which other host holds the formation's data, where a monitor that does not know of it, being new,
// would take a first node with an empty cluster.
func (p nodeParams) firstOfAll(ctx context.Context) error {
	for _, other := range p.Hosts {
		r, err := other.Reader()
		if err == nil {
			err = p.noNodeOn(ctx, r)
		}
		if err != nil {
			return fmt.Errorf("hosts: %s: %w", other.Name, err)
		}
	}
	return nil
}

// noNodeOn is an error where a host holds what is a finished node, or looks like one.
func (p nodeParams) noNodeOn(ctx context.Context, r host.Reader) error {
	files, err := layoutOf(ctx, r, p.PGData)
	if host.Missing(err) {
		return nil // it has no PostgreSQL yet
	}
	if err != nil {
		return err
	}
	marks, err := files.marks(ctx, r)
	if err != nil || !marks.finished() {
		return err
	}
	creating, err := service(p.Service).creating(ctx, r)
	if err != nil {
		return err
	}
	if creating {
		return fmt.Errorf("%s is creating a data node, of which the monitor knows nothing yet: run again when it has ended", service(p.Service).creation())
	}
	if none, err := files.cutOff(ctx, r); err != nil || none {
		return err
	}
	return fmt.Errorf("it holds a data node, and the monitor knows none: no first node is created before that one is registered, or gone. %s", ifUnknown(service(p.Service), files))
}

// make does what was decided.
func (p nodeParams) make(ctx context.Context, h host.Host, files layout, pgctl string, t todo) error {
	if t.Outlive != nil {
		if err := p.outlive(ctx, h, files); err != nil {
			return err
		}
	}
	if t.RemoveState || t.Forget != nil {
		if err := p.lookBefore(ctx, h, files, t); err != nil {
			return err
		}
	}
	if t.RemoveState { // before the row: a state file without one is somebody's node, for all that the next run knows
		for _, file := range files.ofCreation() {
			if err := h.Remove(ctx, file, false); err != nil {
				return err
			}
		}
	}
	if t.Forget != nil {
		if err := p.forget(ctx, files, h, *t.Forget, t.ForgetNow); err != nil {
			return err
		}
	}
	if t.RemoveData {
		// Looked at again, so close to its end.
		if data, err := clusterAt(ctx, h, p.PGData); err != nil || data != newCluster {
			return errors.Join(err, fmt.Errorf("pgdata: %s has changed since it was looked at: run again", p.PGData))
		}
		if err := h.Remove(ctx, p.PGData, true); err != nil {
			return err
		}
	}
	if t.Leftover {
		if err := p.removeWorkshop(ctx, h); err != nil {
			return err
		}
	}
	if t.Initdb {
		if err := p.initdb(ctx, h, pgctl); err != nil {
			return err
		}
	}
	if t.First {
		if there, err := exists(ctx, h, path.Join(p.PGData, "postgresql.conf")); err != nil || there {
			if err := errors.Join(err, p.ensureInclude(ctx, h, p.PGData)); err != nil {
				return err
			}
		}
	}
	options := []string{"--name", p.Name, "--dbname", p.Database, "--formation", p.Formation,
		"--monitor", uriOfMonitor(p.MonitorHostname, p.MonitorPort, p.SSLMode, p.SSLCAFile)}
	if p.CandidatePriority.Set {
		options = append(options, "--candidate-priority", strconv.Itoa(p.CandidatePriority.Value))
	}
	if p.ReplicationQuorum.Set {
		options = append(options, "--replication-quorum", strconv.FormatBool(p.ReplicationQuorum.Value))
	}
	return p.create(ctx, h, p.Timeout, "postgres", pgctl, options...)
}

// lookAgain is look once the node may have gone on.
func (p nodeParams) lookAgain(ctx context.Context, r host.Reader, files layout) (situation, error) {
	marks, err := files.marks(ctx, r)
	if err != nil {
		return situation{}, err
	}
	return p.look(ctx, r, files, marks)
}

// lookBefore looks again, just before the state or the row of a node is removed: another run may have begun to create it, or the formation's
// first node.
func (p nodeParams) lookBefore(ctx context.Context, h host.Host, files layout, t todo) error {
	now, err := p.lookAgain(ctx, h, files)
	if err == nil {
		now.Creating, err = service(p.Service).creating(ctx, h)
	}
	if err != nil {
		return err
	}
	return p.stands(t, files, now)
}

// stands is an error where another thing is to be done now than was decided.
func (p nodeParams) stands(t todo, files layout, now situation) error {
	next, err := p.decide(now)
	if err != nil {
		return err
	}
	next.Leftover = t.Leftover // which is no matter of the situation
	if !slices.Equal(p.summary(next, files), p.summary(t, files)) {
		return fmt.Errorf("%s, its data in %s or the formation have changed since they were looked at: run again", p.Name, p.PGData)
	}
	return nil
}

// outliveTimeout is far beyond what a failover takes.
const outliveTimeout = 3 * time.Minute

// outlive waits until the formation has got over the loss of the node.
func (p nodeParams) outlive(ctx context.Context, h host.Host, files layout) error {
	return waitOwn(ctx, "waiting until the formation does without "+p.Name, outliveTimeout, func(ctx context.Context) error {
		s, err := p.lookAgain(ctx, h, files)
		if err != nil {
			return err
		}
		return s.gone()
	})
}

// forget removes a lost node's row from the monitor, and what is left of an earlier creation.
//
// Removal with force deletes the row at once and does nothing else, so that the primary might go on waiting for
// the node; without, the monitor tells the primary first, and then waits for the lost node for ever. So both.
func (p nodeParams) forget(ctx context.Context, files layout, h host.Host, lost Node, atOnce bool) error {
	monitor, err := p.Monitor.Writer()
	if err != nil {
		return err
	}
	const remove = `SELECT pgautofailover.remove_node($1, $2, $3)`
	if !atOnce {
		if err := p.onMonitor().call(ctx, monitor, remove, lost.Host, lost.Port, false); err != nil {
			return fmt.Errorf("remove the lost node from the monitor: %w", err)
		}
	}
	if err := p.onMonitor().call(ctx, monitor, remove, lost.Host, lost.Port, true); err != nil {
		return fmt.Errorf("remove the lost node from the monitor: %w", err)
	}
	return errors.Join(h.Remove(ctx, files.settings(), false), h.Remove(ctx, files.backup(lost.ID), true))
}
