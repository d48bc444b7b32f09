// Package run runs a loaded playbook: its plays one after the other, their hosts at once, each host's
// tasks in order.
//
// A host that fails a task leaves the run. The others go on to the end of the play; then the run stops, unless
// the play says on_failure = "continue". A serial play stops after the batch in which a host failed.
package run

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/pgrun/pgrun/runtime/builtin"
	"github.com/pgrun/pgrun/runtime/inventory"
	"github.com/pgrun/pgrun/runtime/load"
	"github.com/pgrun/pgrun/runtime/outcome"
	"github.com/pgrun/pgrun/runtime/report"
	"github.com/pgrun/pgrun/runtime/secret"
	"github.com/pgrun/pgrun/runtime/suggest"
)

// Options say how a playbook is run.
type Options struct {
	Check        bool     // a dry run
	FailOnChange bool     // in a dry run: 1 where something would change
	Limit        string   // pattern of the hosts to keep; empty is all
	Tags         []string // only the tasks with one of these; empty is all
	SkipTags     []string // not the tasks with one of these
	Forks        int      // hosts at a time

	Hosts Hosts
	Mask  *secret.Mask
	Sink  report.Sink

	// Root ends even the clean-ups; the context given to Run ends only the work.
	Root context.Context
}

// Hosts reaches the hosts, and can be told early which ones are next.
type Hosts interface {
	builtin.Hosts
	Warm(ctx context.Context, hosts []*inventory.Host)
}

// Interrupted is the cause of a run's cancellation by a signal.
type Interrupted struct {
	Signal string
	Code   outcome.Code // 128 + the signal's number
}

func (e *Interrupted) Error() string { return "interrupted by " + e.Signal }

// Run runs plays of the playbook, as Plan gives them, and returns the exit code.
func Run(ctx context.Context, p *load.Playbook, plays []*load.Play, o Options) outcome.Code {
	o.Sink = &masking{sink: o.Sink, mask: o.Mask}
	r := &runner{Options: o, playbook: p, hosts: map[string]*hostRun{}, started: time.Now()}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	r.cancel = cancel
	return r.run(ctx, plays)
}

// Plan returns the plays with the hosts and tasks that the limit and the tags leave. No host at all is an
// error: a test without hosts must not pass.
func Plan(p *load.Playbook, o Options) ([]*load.Play, error) {
	keep := p.Inventory.Hosts
	if o.Limit != "" {
		var err error
		if keep, err = p.Inventory.Match(o.Limit); err != nil {
			return nil, fmt.Errorf("--limit: %w", err)
		}
	}
	if err := checkTags(p, slices.Concat(o.Tags, o.SkipTags)); err != nil {
		return nil, err
	}
	var plays []*load.Play
	for _, play := range p.Plays {
		left := *play
		left.Hosts = slices.DeleteFunc(slices.Clone(play.Hosts), func(h *inventory.Host) bool { return !slices.Contains(keep, h) })
		left.Tasks = slices.DeleteFunc(slices.Clone(play.Tasks), func(t *load.Task) bool { return !chosen(t, o) })
		if len(left.Hosts) > 0 && len(left.Tasks) > 0 {
			plays = append(plays, &left)
		}
	}
	if len(plays) == 0 {
		return nil, errors.New("nothing to run: no play has both a host and a task left after --limit, --tags and --skip-tags")
	}
	return plays, nil
}

func chosen(t *load.Task, o Options) bool {
	has := func(tag string) bool { return slices.Contains(t.Tags, tag) }
	return (len(o.Tags) == 0 || slices.ContainsFunc(o.Tags, has)) && !slices.ContainsFunc(o.SkipTags, has)
}

// checkTags refuses tags that no task has: a mistyped tag would run nothing, or everything.
func checkTags(p *load.Playbook, tags []string) error {
	known := map[string]bool{}
	for _, play := range p.Plays {
		for _, task := range play.Tasks {
			for _, tag := range task.Tags {
				known[tag] = true
			}
		}
	}
	for _, tag := range tags {
		if !known[tag] {
			names := make([]string, 0, len(known))
			for name := range known {
				names = append(names, name)
			}
			slices.Sort(names)
			if len(names) == 0 {
				return fmt.Errorf("no task has the tag %q: none of the playbook's tasks has a tag", tag)
			}
			return fmt.Errorf("no task has the tag %q%s", tag, suggest.Or(tag, names, " (tags: "+strings.Join(names, ", ")+")"))
		}
	}
	return nil
}

// runner is the state of one run.
type runner struct {
	Options
	playbook *load.Playbook
	started  time.Time
	cancel   context.CancelCauseFunc

	hosts map[string]*hostRun // each of them used by one goroutine at a time
	order []string
}

// hostRun is what became of a host so far.
type hostRun struct {
	recap report.HostRecap
	err   error        // why it has left the run
	code  outcome.Code // what it came to by itself; a host that was cancelled came to nothing
}

func (r *runner) run(ctx context.Context, plays []*load.Play) outcome.Code {
	all := hostsOf(plays)
	r.Hosts.Warm(ctx, all[:min(len(all), r.Forks)])
	for _, play := range plays {
		for _, h := range play.Hosts {
			if r.hosts[h.Name] == nil {
				r.hosts[h.Name] = &hostRun{recap: report.HostRecap{Host: h.Name}}
				r.order = append(r.order, h.Name)
			}
		}
	}
	for _, play := range r.playbook.Plays {
		same := func(left *load.Play) bool { // a comprehension makes several in one place
			return left.Position == play.Position && left.Name == play.Name && left.Pattern == play.Pattern
		}
		if r.Limit != "" && !slices.ContainsFunc(plays, same) {
			r.Sink.Note(fmt.Sprintf("The play %q is not run: --limit and the tags leave nothing of it.", play.Name))
		}
	}
	for i, play := range plays {
		if ok := r.play(ctx, play); !ok && i+1 < len(plays) && ctx.Err() == nil {
			if !play.Continue {
				r.Sink.Note(fmt.Sprintf("\nA host failed: %d more plays are not run.", len(plays)-i-1))
				r.skip(plays[i+1:])
				break
			}
		}
		if ctx.Err() != nil {
			r.skip(plays[i+1:])
			break
		}
	}
	return r.finish(ctx)
}

func hostsOf(plays []*load.Play) []*inventory.Host {
	var all []*inventory.Host
	for _, play := range plays {
		for _, h := range play.Hosts {
			if !slices.Contains(all, h) {
				all = append(all, h)
			}
		}
	}
	return all
}

// skip counts the tasks that hosts did not get to.
func (r *runner) skip(plays []*load.Play) {
	for _, play := range plays {
		for _, h := range play.Hosts {
			r.hosts[h.Name].recap.Skipped += len(play.Tasks)
		}
	}
}

// play runs a play, in batches if it is serial, and reports whether no host failed in it.
func (r *runner) play(ctx context.Context, play *load.Play) bool {
	var hosts []*inventory.Host
	for _, h := range play.Hosts {
		if r.hosts[h.Name].err == nil {
			hosts = append(hosts, h)
		} else {
			r.hosts[h.Name].recap.Skipped += len(play.Tasks)
		}
	}
	if len(hosts) == 0 {
		return true
	}
	size := play.Serial
	if size == 0 {
		size = len(hosts)
	}
	batches := slices.Collect(slices.Chunk(hosts, size))
	for i, batch := range batches {
		shown := report.Play{Name: play.Name}
		if play.Serial > 0 && len(batches) > 1 {
			shown.Batch = fmt.Sprintf("%d of %d", i+1, len(batches))
		}
		for _, h := range batch {
			shown.Hosts = append(shown.Hosts, h.Name)
		}
		for _, t := range play.Tasks {
			shown.Tasks = append(shown.Tasks, t.Title)
		}
		r.Sink.Play(shown)
		if ok := r.batch(ctx, play, batch); !ok && !play.Continue || ctx.Err() != nil {
			for _, rest := range batches[i+1:] {
				for _, h := range rest {
					r.hosts[h.Name].recap.Skipped += len(play.Tasks)
				}
			}
			return false
		}
	}
	return !slices.ContainsFunc(hosts, func(h *inventory.Host) bool { return r.hosts[h.Name].err != nil })
}

// batch runs a play's tasks on some hosts, Forks at a time.
func (r *runner) batch(ctx context.Context, play *load.Play, hosts []*inventory.Host) bool {
	var all sync.WaitGroup
	slots := make(chan struct{}, max(1, r.Forks))
	for _, h := range hosts {
		slots <- struct{}{} // in the inventory's order
		all.Go(func() {
			defer func() { <-slots }()
			r.tasks(ctx, play, h)
		})
	}
	all.Wait()
	return !slices.ContainsFunc(hosts, func(h *inventory.Host) bool { return r.hosts[h.Name].err != nil })
}

// finish sums the run up.
func (r *runner) finish(ctx context.Context) outcome.Code {
	recap := report.Recap{Check: r.Check, Took: time.Since(r.started)}
	code := outcome.OK
	changed := 0
	for _, name := range r.order {
		h := r.hosts[name]
		recap.Hosts = append(recap.Hosts, h.recap)
		code = outcome.Worse(code, h.code)
		changed += h.recap.Changed
	}
	if r.Check && r.FailOnChange && code == outcome.OK && changed > 0 {
		code, recap.Message = outcome.Failed, "something would change (--fail-on-change)"
	}
	var exit *outcome.Exit
	var interrupted *Interrupted
	switch cause := context.Cause(ctx); {
	case errors.As(cause, &interrupted):
		code, recap.Message = interrupted.Code, interrupted.Error()
	case errors.As(cause, &exit):
		recap.Message = exit.Message
	case cause != nil && code == outcome.OK:
		code, recap.Message = outcome.Of(cause), cause.Error()
	}
	recap.Code = int(code)
	r.Sink.Recap(recap)
	return code
}
