package guard

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	starlarktime "go.starlark.net/lib/time"
	"go.starlark.net/starlark"
	"go.starlark.net/starlarkstruct"

	"github.com/pgrun/pgrun/runtime/builtin"
	"github.com/pgrun/pgrun/runtime/secret"
)

type duringParams struct {
	Monitor builtin.Host     `star:"monitor,required" doc:"The monitor's host."`
	During  builtin.Callable `star:"during,required" doc:"What is done while the formation is guarded: a function without parameters."`
	guarded
	Timeout time.Duration `star:"timeout" doc:"How long the guard may take until it guards. Past that, the function is not called."`
}

// during guards a formation while a function runs.
func during(c *builtin.Call, p duringParams) (starlark.Value, error) {
	err := p.validate()
	if err == nil && p.Timeout <= 0 {
		err = errors.New("timeout: want more than 0s")
	}
	if err != nil {
		return nil, fmt.Errorf("%s: for parameter %w", c.Name, err)
	}
	var tries []try
	var value starlark.Value
	if c.Scope.Check {
		value, err = p.During.Call(c.Thread)
	} else {
		defer reportInTurn(c.Scope)()
		value, tries, err = newGuard(c, p.Monitor, p.guarded).during(c, p)
	}
	if err != nil {
		return nil, err
	}
	return starlarkstruct.FromStringDict(starlark.String("guarded"), starlark.StringDict{"value": value, "steps": stepsOf(c.Scope.Mask, tries)}), nil
}

// stepsOf is what a script gets of the steps that a guard tried.
func stepsOf(mask *secret.Mask, tries []try) starlark.Value {
	steps := make([]starlark.Value, len(tries))
	for i, t := range tries {
		message := ""
		if t.err != nil {
			message = mask.Hide(t.err.Error())
		}
		steps[i] = starlarkstruct.FromStringDict(starlark.String("step"), starlark.StringDict{
			"step": starlark.String(t.kind), "node": starlark.String(t.node.Name),
			"at": starlarktime.Time(t.at), "took": starlarktime.Duration(t.took), "error": starlark.String(message),
		})
	}
	return starlark.NewList(steps)
}

// reportInTurn has the guard and the function, which run at once, report one at a time, until it is undone.
func reportInTurn(s *builtin.Scope) (undo func()) {
	var turn sync.Mutex
	report := s.Report
	s.Report = func(e builtin.Event) {
		turn.Lock()
		defer turn.Unlock()
		report(e)
	}
	return func() { s.Report = report }
}

// during has the guard guard while the function runs, which it calls once it does.
func (g *guard) during(c *builtin.Call, p duringParams) (value starlark.Value, tries []try, err error) {
	ctx := c.Scope.Context
	begun, over := make(chan struct{}), make(chan struct{})
	missing := "it has not looked yet" // why it does not guard
	g.looked = func(v view, s step) {
		if missing == "" {
			return
		}
		if missing = v.missing(s); missing == "" {
			close(begun)
		}
	}
	g.tried = func(t try) { tries = append(tries, t) }
	var guarding sync.WaitGroup
	guarding.Go(func() { _ = g.run(ctx, over) }) // it ends with over, or ctx
	end := sync.OnceFunc(func() { close(over); guarding.Wait() })
	defer end()
	select {
	case <-begun:
		value, err = p.During.Call(c.Thread)
	case <-time.After(p.Timeout):
		end()
		err = &builtin.Failure{Host: c.Scope.Host.Name, Builtin: c.Name, Err: fmt.Errorf("it does not guard after %s: %s", p.Timeout, missing)}
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	end()
	return value, tries, err
}

// missing says why a guard that sees this, and takes it for that step, does not guard yet; empty where it does.
func (v view) missing(s step) string {
	old, standby, _ := v.roles()
	switch {
	case s.kind != watch:
		return s.String()
	case s.alarm || !v.guarding():
		return s.why
	case !v.serves(old):
		return old.Name + " does not answer yet"
	case !v.serves(standby):
		return standby.Name + " does not answer yet"
	}
	return ""
}
