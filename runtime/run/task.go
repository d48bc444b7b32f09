package run

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"strings"
	"time"

	"go.starlark.net/starlark"

	"github.com/pgrun/pgrun/runtime/builtin"
	"github.com/pgrun/pgrun/runtime/host"
	"github.com/pgrun/pgrun/runtime/inventory"
	"github.com/pgrun/pgrun/runtime/load"
	"github.com/pgrun/pgrun/runtime/outcome"
	"github.com/pgrun/pgrun/runtime/report"
)

// tasks runs a play's tasks on one host, until one fails.
func (r *runner) tasks(ctx context.Context, play *load.Play, h *inventory.Host) {
	run := r.hosts[h.Name]
	for i, task := range play.Tasks {
		ref := report.TaskRef{Task: i, Host: h.Name}
		if ctx.Err() != nil {
			run.recap.Skipped += len(play.Tasks) - i
			run.stop(task, context.Cause(ctx))
			r.Sink.TaskEnd(report.TaskResult{TaskRef: ref, Status: report.Cancelled})
			return
		}
		r.Sink.TaskStart(ref)
		started := time.Now()
		changed, err := r.task(ctx, ref, task, h)
		took := time.Since(started)
		run.recap.Took += took

		result := report.TaskResult{TaskRef: ref, Status: statusOf(ctx, err, changed), Took: took}
		if changed || result.Status == report.Undetermined {
			run.recap.Changed++
		}
		switch result.Status {
		case report.OK, report.Changed:
			run.recap.OK++
		case report.Undetermined:
			run.recap.OK++
			run.recap.Undetermined++
			result.Error = outcome.Locate(err)
			err = nil
		case report.Unreachable:
			run.recap.Unreachable++
			result.Error, run.code = outcome.Explain(err), outcome.Of(err)
		case report.Failed:
			run.recap.Failed++
			result.Error, run.code = outcome.Explain(err), outcome.Of(err)
		case report.Exited:
			result.Error = err.Error()
			var exit *outcome.Exit
			errors.As(err, &exit)
			run.code = exit.Code
			if exit.Code == outcome.OK {
				run.recap.OK++
			} else {
				run.recap.Failed++
			}
			r.cancel(exit)
		}
		r.Sink.TaskEnd(result)
		if err != nil {
			run.recap.Skipped += len(play.Tasks) - i - 1
			run.stop(task, err)
			return
		}
	}
}

func (h *hostRun) stop(task *load.Task, err error) {
	h.err = err
	if h.recap.Reached == "" {
		h.recap.Reached = task.Title
	}
}

// task runs one task and reports whether it changed anything.
func (r *runner) task(ctx context.Context, ref report.TaskRef, task *load.Task, h *inventory.Host) (changed bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	scope := &builtin.Scope{
		Context: ctx,
		Root:    r.Root,
		Check:   r.Check,
		Host:    h,
		Hosts:   r.Hosts,
		Mask:    r.Mask,
		Report: func(e builtin.Event) {
			changed = changed || e.Changes()
			r.Sink.Event(ref, e)
		},
	}
	thread := &starlark.Thread{
		Name:  h.Name + ": " + task.Title,
		Print: func(_ *starlark.Thread, message string) { scope.Log(message) },
	}
	builtin.Bind(thread, scope)
	builtin.BindFiles(thread, r.playbook.Files)
	stop := context.AfterFunc(ctx, func() { thread.Cancel(context.Cause(ctx).Error()) })
	defer stop()
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("internal error, please report it: %v\n%s", p, debug.Stack())
		}
	}()
	_, err = starlark.Call(thread, task.Func, starlark.Tuple{h}, nil)
	return changed, err
}

// cutOff reports whether err only says that ctx ended. A task may as well have failed just before.
func cutOff(ctx context.Context, err error) bool {
	cause := context.Cause(ctx)
	return cause != nil && (errors.Is(err, cause) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) ||
		strings.Contains(err.Error(), "Starlark computation cancelled"))
}

// statusOf says what a task's error makes of it.
func statusOf(ctx context.Context, err error, changed bool) report.Status {
	var (
		exit         *outcome.Exit
		undetermined *outcome.Undetermined
		unreachable  *host.Unreachable
	)
	switch {
	case err == nil && changed:
		return report.Changed
	case err == nil:
		return report.OK
	case errors.As(err, &exit) && context.Cause(ctx) != error(exit): // the other hosts have it as their cause
		return report.Exited
	case cutOff(ctx, err):
		return report.Cancelled
	case errors.As(err, &undetermined):
		return report.Undetermined
	case errors.As(err, &unreachable):
		return report.Unreachable
	}
	return report.Failed
}
