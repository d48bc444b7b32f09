package pgautoctl

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/pgrun/pgrun/runtime/builtin"
	"github.com/pgrun/pgrun/runtime/host"
)

// lookTimeout bounds the question to the monitor: a look that hangs would hide what it is to watch. It takes milliseconds
// but where the machine is overloaded, or the agent has to be started first.
const lookTimeout = 15 * time.Second

type stateParams struct {
	Hosts builtin.HostList `star:"hosts" doc:"Hosts of data nodes, by the same names: their servers are asked, too."`
	server
	Formation   string        `star:"formation" doc:"Name of the formation."`
	ReportAge   time.Duration `star:"report_age" doc:"From which age on a node's last report counts as a problem."`
	HostTimeout time.Duration `star:"host_timeout" doc:"How long a data node's server may take to answer; all are asked at once."`
}

// State is what a look at a formation finds.
type State struct {
	Formation          string   `star:"formation" doc:"Name of the formation."`
	NumberSyncStandbys int      `star:"number_sync_standbys" doc:"How many standbys must have a commit."`
	Nodes              []Node   `star:"nodes" doc:"The data nodes, a struct each, in the order of their ids."`
	Primary            *Node    `star:"primary" doc:"The one node that takes writes and is to go on so: single, primary, wait_primary, join_primary or apply_settings, reported and assigned. None while there is no such node."`
	Healthy            bool     `star:"healthy" doc:"Whether this is a healthy baseline: one primary and secondaries, all settled, reporting, checked, and the primary waiting for a standby. A node that is alone is healthy as single."`
	Problems           []string `star:"problems" doc:"Why it is not healthy."`
	SyncStandbyNames   *string  `star:"synchronous_standby_names" doc:"The primary's setting; None where its server was not asked, or did not answer."`
	Table              string   `star:"table" doc:"The nodes as a table to print."`
}

func state(ctx context.Context, r host.Reader, p stateParams) (State, error) {
	if p.HostTimeout <= 0 || p.ReportAge <= 0 {
		return State{}, errors.New("host_timeout, report_age: want more than 0s")
	}
	if err := p.validate(); err != nil {
		return State{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	answers := p.ask(ctx)
	f, err := p.readFormation(ctx, r, p.Formation)
	if err != nil && ctx.Err() != nil {
		err = fmt.Errorf("the monitor did not answer within %s: %w", lookTimeout, err)
	}
	if err != nil {
		return State{}, err
	}
	asked := answers()
	for i := range f.Nodes {
		f.Nodes[i].Healthy = f.Nodes[i].isHealthy(p.ReportAge)
	}
	s := State{
		Formation: f.Name, NumberSyncStandbys: f.NumberSyncStandbys, Nodes: f.Nodes, Primary: f.primary(),
		Problems: append(f.problemsOnHosts(asked), f.problems(p.ReportAge)...),
		Table:    f.table(),
	}
	s.Healthy = len(s.Problems) == 0
	if s.Primary != nil {
		if a, ok := asked[s.Primary.Name]; ok && a.err == nil {
			s.SyncStandbyNames = &a.SyncNames
		}
	}
	return s, nil
}

// answer is what a data node's server said, or why it said nothing.
type answer struct {
	member
	err error
}

// ask asks the servers of all hosts at once. The function that it returns waits for the answers.
func (p stateParams) ask(ctx context.Context) func() map[string]answer {
	var (
		asking  sync.WaitGroup
		answers = make([]answer, len(p.Hosts))
	)
	for i, h := range p.Hosts {
		asking.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, p.HostTimeout)
			defer cancel()
			a := &answers[i]
			var r host.Reader
			if r, a.err = h.Reader(); a.err == nil {
				a.member, a.err = p.readMember(ctx, r)
			}
			if a.err != nil && ctx.Err() != nil {
				a.err = fmt.Errorf("no answer within %s", p.HostTimeout)
			}
		})
	}
	return func() map[string]answer {
		asking.Wait()
		byName := map[string]answer{}
		for i, h := range p.Hosts {
			byName[h.Name] = answers[i]
		}
		return byName
	}
}

// table shows the nodes, much as pg_autoctl show state does.
func (f formation) table() string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "NAME\tID\tADDRESS\tREPORTED\tASSIGNED\tHEALTH\tREPORT\tTLI\tLSN\tPRIORITY\tQUORUM")
	for _, n := range f.Nodes {
		health := map[int]string{0: "bad", 1: "good"}[n.Health]
		if health == "" {
			health = "unknown"
		}
		fmt.Fprintf(w, "%s\t%d\t%s\t%s\t%s\t%s\t%s\t%d\t%s\t%d\t%t\n", n.Name, n.ID, n.address(), n.ReportedState, n.AssignedState,
			health, n.ReportAge.Round(100*time.Millisecond), n.TLI, n.LSN, n.CandidatePriority, n.ReplicationQuorum)
	}
	_ = w.Flush() // to a strings.Builder
	return b.String()
}
