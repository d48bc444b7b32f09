package pgautoctl

import (
	"errors"
	"fmt"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/pgrun/pgrun/runtime/host"
)

// problems lists what keeps a formation from being a healthy baseline, as far as the monitor knows: one
// from which the loss of any node is survived, and no acknowledged commit lost.
func (f formation) problems(reportAge time.Duration) (all []string) {
	add := func(format string, args ...any) { all = append(all, fmt.Sprintf(format, args...)) }
	if len(f.Nodes) == 0 {
		add("no data node is registered")
		return all
	}
	primary := f.primary()
	if primary == nil {
		add("there is not exactly one primary")
	}
	for _, n := range f.Nodes {
		want := "secondary"
		switch {
		case len(f.Nodes) == 1:
			want = "single"
		case primary != nil && n.ID == primary.ID:
			want = "primary"
		}
		if (primary != nil || !n.isPrimary()) && !n.in(want) {
			not := ""
			if n.ReportedState != want {
				not = ", not " + want
			}
			add("%s is %s%s", n.Name, n.states(), not)
		}
		if n.Health != 1 {
			add("%s fails the monitor's health check, or has not been checked yet", n.Name)
		}
		if n.ReportAge >= reportAge {
			add("%s reported last %s ago", n.Name, n.ReportAge.Round(time.Second))
		}
		if !n.PGRunning {
			add("%s reports that its PostgreSQL does not run", n.Name)
		}
	}
	if primary != nil && primary.in("primary") && f.quorum() > 1 && !synchronous(primary.SyncState) {
		add("%s reports no synchronous standby (%s)", primary.Name, primary.SyncState)
	}
	return all
}

// isHealthy reports whether a node by itself is as it should be, whatever the others are.
func (n Node) isHealthy(reportAge time.Duration) bool {
	return n.in("single", "primary", "wait_primary", "secondary") && n.Health == 1 && n.ReportAge < reportAge && n.PGRunning
}

// synchronous reports whether a sync_state of pg_stat_replication is one that commits wait for.
func synchronous(syncState string) bool {
	return slices.Contains([]string{"sync", "quorum"}, syncState)
}

// problemsOnHosts lists what the data nodes' own servers add to that. The answers are by the nodes' names.
func (f formation) problemsOnHosts(answers map[string]answer) (all []string) {
	add := func(format string, args ...any) { all = append(all, fmt.Sprintf(format, args...)) }
	names := make([]string, 0, len(answers))
	for name := range answers {
		names = append(names, name)
	}
	sort.Strings(names)
	primary := f.primary()
	for _, name := range names {
		a, n := answers[name], f.find(name)
		isPrimary := n != nil && primary != nil && n.ID == primary.ID
		switch {
		case n == nil:
			add("%s is not registered", name)
		case a.err != nil:
			add("%s does not answer: %s", name, unanswered(a.err))
		case isPrimary && a.InRecovery:
			add("%s is the primary, and in recovery", name)
		case isPrimary && a.ReadOnly:
			add("%s is the primary, and its sessions are read-only", name)
		case isPrimary && len(f.Nodes) > 1:
			all = append(all, f.problemsOfReplication(*n, a.member)...)
		case !isPrimary && !a.InRecovery:
			add("%s is not the primary, and not in recovery", name)
		}
	}
	if _, asked := answers[primaryName(primary)]; len(answers) > 0 && primary != nil && !asked {
		add("%s is the primary, and not among the hosts that were asked", primary.Name)
	}
	return all
}

// problemsOfReplication lists what is wrong between the primary and its standbys.
func (f formation) problemsOfReplication(primary Node, m member) (all []string) {
	add := func(format string, args ...any) { all = append(all, fmt.Sprintf(format, args...)) }
	if m.SyncNames == "" && f.quorum() > 1 {
		add("%s commits without waiting for a standby: synchronous_standby_names is empty", primary.Name)
	}
	for _, n := range f.Nodes {
		if n.ID == primary.ID {
			continue
		}
		switch from, streams := m.Replicas[standbyName(n.ID)]; {
		case !streams:
			add("%s does not stream from %s", n.Name, primary.Name)
		case from.State != "streaming":
			add("%s is in %s of its stream from %s", n.Name, from.State, primary.Name)
		case n.ReplicationQuorum && !synchronous(from.Sync):
			add("%s is %s to %s, not synchronous", n.Name, from.Sync, primary.Name)
		}
	}
	return all
}

// unanswered says in a few words why a server gave no answer.
func unanswered(err error) string {
	var unreachable *host.Unreachable
	switch {
	case errors.Is(err, host.ErrAbsent), errors.As(err, &unreachable):
	case host.Missing(err):
		return "no PostgreSQL runs there"
	}
	line, _, _ := strings.Cut(err.Error(), "\n")
	return line
}

func primaryName(n *Node) string {
	if n == nil {
		return ""
	}
	return n.Name
}
