package guard

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path"
	"strconv"
	"sync"
	"time"

	"go.starlark.net/starlark"

	pgautoctl "github.com/pgrun/pgrun/builtins/pg_autoctl"
	"github.com/pgrun/pgrun/runtime/builtin"
	"github.com/pgrun/pgrun/runtime/host"
	"github.com/pgrun/pgrun/runtime/postgres"
)

type params struct {
	Monitor builtin.Host `star:"monitor,required" doc:"The monitor's host."`
	guarded
	Metrics string `star:"metrics" doc:"Address to serve metrics for Prometheus at, such as \"127.0.0.1:9187\"; none if empty."`
}

// guarded is the formation that is guarded, and how.
type guarded struct {
	Hosts     builtin.HostList `star:"hosts,required" doc:"The hosts of the data nodes, by the nodes' names."`
	Formation string           `star:"formation" doc:"Name of the formation."`
	Port      int              `star:"port" doc:"Port of PostgreSQL, on all of these hosts."`
	Socket    string           `star:"socket" doc:"Directory of its Unix socket."`
	Every     time.Duration    `star:"every" doc:"How often to look where nothing seems wrong. What ends a session with the primary's instance, and what Incus tells of it, is looked at at once."`
	Silence   time.Duration    `star:"silence" doc:"How long a primary whose instance is not stopped may give no sign of life: new sessions on it, its server and its keeper's reports, all of them. 2s at least."`
}

// leastSilence is the shortest silence that can be told from a machine that is busy.
const leastSilence = 2 * time.Second

// defaults are those of the parameters that have any.
var defaults = guarded{
	Formation: "default", Port: postgres.DefaultPort, Socket: postgres.DefaultSocket,
	Every: time.Second, Silence: leastSilence,
}

func (p params) validate() error {
	_, port, err := net.SplitHostPort(p.Metrics)
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	if p.Metrics != "" && err != nil {
		return fmt.Errorf("metrics: %q is no address with a port, such as 127.0.0.1:9187", p.Metrics)
	}
	return p.guarded.validate()
}

func (p guarded) validate() error {
	switch {
	case len(p.Hosts) == 0:
		return errors.New("hosts: the list is empty")
	case p.Every < 100*time.Millisecond:
		return fmt.Errorf("every: %s is less than 100ms", p.Every)
	case p.Silence < leastSilence:
		return fmt.Errorf("silence: %s is less than %s, in which a healthy primary on a busy machine may not answer", p.Silence, leastSilence)
	case p.Port < 1 || p.Port > 65535:
		return fmt.Errorf("port: %d is not between 1 and 65535", p.Port)
	case !path.IsAbs(p.Socket):
		return fmt.Errorf("socket: %q is not an absolute path of a directory", p.Socket)
	}
	return nil
}

// guard is one that works.
type guard struct {
	every    time.Duration
	silence  time.Duration
	dry      bool // says what it would do
	monitor  *monitor
	machines []*machine
	woken    chan struct{} // holds a token where a look is due
	tell     func(step step, line string)
	said     string
	failed   string // the step that has just failed, in words
	stale    int    // how many looks in a row have grown old
	metrics  *meter

	// For who wants to know, or nil: told of each look, and of each step that was tried.
	looked func(view, step)
	tried  func(try)
}

// newGuard makes the guard of a call.
func newGuard(c *builtin.Call, mon builtin.Host, p guarded) *guard {
	g := &guard{
		every: p.Every, silence: p.Silence, dry: c.Scope.Check, woken: make(chan struct{}, 1), metrics: newMeter(),
		monitor: &monitor{
			name: mon.Name, host: mon, formation: p.Formation, readOnly: c.Scope.Check,
			target: postgres.Target{Socket: p.Socket, Port: p.Port, Database: pgautoctl.MonitorDatabase},
		},
		tell: func(s step, line string) {
			c.Scope.Report(builtin.Event{
				Host: c.Scope.Host.Name, Status: builtin.Logged, Summary: []string{line},
				Data: map[string]any{"step": string(s.kind), "node": s.node.Name, "alarm": s.alarm},
			})
		},
	}
	for _, h := range p.Hosts {
		g.machines = append(g.machines, newMachine(h.Name, h, postgres.Target{Socket: p.Socket, Port: p.Port}, g.wake))
	}
	return g
}

func guardFormation(c *builtin.Call, p params) (starlark.Value, error) {
	if err := p.validate(); err != nil {
		return nil, fmt.Errorf("%s: for parameter %w", c.Name, err)
	}
	g := newGuard(c, p.Monitor, p.guarded)
	if p.Metrics != "" {
		served, err := g.metrics.serve(c.Scope.Context, p.Metrics)
		if err != nil {
			return nil, &builtin.Failure{Host: c.Scope.Host.Name, Builtin: c.Name, Err: fmt.Errorf("serving metrics at %s: %w", p.Metrics, err)}
		}
		defer served()
	}
	return nil, g.run(c.Scope.Context, nil)
}

// wake has the next look be taken at once.
func (g *guard) wake() {
	select {
	case g.woken <- struct{}{}:
	default:
	}
}

const (
	// atOnce is the pause before a look that is due.
	atOnce = 10 * time.Millisecond

	// soon is the pause between two looks where something seems wrong, and later that where it goes on for longer than urgent.
	soon   = 50 * time.Millisecond
	later  = 500 * time.Millisecond
	urgent = 10 * time.Second
)

// run guards until ctx ends, or, after the step that is being done, over is closed.
func (g *guard) run(ctx context.Context, over <-chan struct{}) error {
	watching, stop := context.WithCancel(ctx)
	var watchers sync.WaitGroup
	for _, m := range g.machines {
		watchers.Go(func() { m.watcher.run(watching) })
		watchers.Go(func() { m.follow(watching, g.wake) })
	}
	watchers.Go(func() { g.monitor.follow(watching, g.wake) })
	defer watchers.Wait()
	defer stop()
	for _, m := range g.machines {
		defer m.release()
	}
	defer g.monitor.close()
	var fencing chan try // a fence that is under way: it takes seconds, in which the standby gets on
	defer func() {
		if fencing != nil {
			g.conclude(<-fencing)
		}
	}()
	calm := now() // since when nothing has seemed wrong
	var last view
	for {
		v := g.look(ctx)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		select {
		case <-over:
			return nil
		default:
		}
		v.follows(last, g.every+stale)
		last = v
		g.warm(ctx, v)
		s := decide(v, g.silence)
		g.metrics.looked(v, s, g.dry)
		if g.looked != nil {
			g.looked(v, s)
		}
		pause := g.every
		switch {
		case !v.suspicious() && s.kind == watch:
			calm = now()
		case now().since(calm) < urgent:
			pause = soon
		default:
			pause = later
		}
		switch {
		case s.kind == watch:
			if fencing == nil {
				g.failed, g.stale = "", 0
			}
			g.say(s, s.why)
		case g.dry:
			g.say(s, "not done in a dry run: "+s.String())
		case fencing != nil && (s.kind == fence || s.kind == unmark || s.kind == letIn): // what it is about is under way
		case s.kind == fence:
			fencing = g.begin(ctx, v, s)
		case g.do(ctx, v, s):
			pause = atOnce
		default:
			pause = later
		}
		select {
		case <-g.woken:
			_ = host.Pause(ctx, atOnce)
		case <-time.After(pause):
		case t := <-fencing:
			fencing = nil
			if !g.conclude(t) {
				_ = host.Pause(ctx, later)
			}
		case <-over:
			return nil
		case <-ctx.Done():
		}
	}
}

// say prints a line that differs from the last.
func (g *guard) say(s step, line string) {
	if line != g.said {
		g.said = line
		g.tell(s, line)
	}
}
