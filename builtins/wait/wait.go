// Package wait is the module wait: until a port, a file or a URL is as it should be.
//
// A wait that is over returns how long it took. One whose timeout passes ends the task with exit code 2
// and says what it was waiting for, and what was the matter at the last look. A dry run looks once.
package wait

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/pgrun/pgrun/runtime/builtin"
	"github.com/pgrun/pgrun/runtime/host"
	"github.com/pgrun/pgrun/runtime/outcome"
)

// Module returns the module wait.
func Module() builtin.Module {
	often := pace{Timeout: time.Minute, Every: time.Second}
	return builtin.Module{
		Name: "wait",
		Doc:  "Waiting for a port, a file or a URL; wait_until waits for anything else. Past the timeout the task ends with exit code 2. A dry run looks once.",
		Builtins: []builtin.Builtin{
			&builtin.Look[portParams, time.Duration]{
				Name:     "port",
				Doc:      "Waits until a TCP port accepts connections made on the host, or with state = \"closed\" until they are refused. Returns how long it took.",
				Defaults: portParams{Address: "127.0.0.1", State: "open", pace: often},
				Run:      port,
			},
			&builtin.Look[fileParams, time.Duration]{
				Name:     "file",
				Doc:      "Waits until something stands at a path, or with state = \"absent\" until nothing does. Returns how long it took.",
				Defaults: fileParams{State: "present", pace: often},
				Run:      file,
			},
			&builtin.Look[urlParams, time.Duration]{
				Name:     "url",
				Doc:      "Waits until a URL, fetched from the host with GET, answers with a status. Redirects are not followed. Returns how long it took.",
				Defaults: urlParams{Status: 200, pace: often},
				Run:      fetch,
			},
		},
	}
}

// pace is how long, and how often, a wait looks.
type pace struct {
	Timeout time.Duration `star:"timeout" doc:"How long to wait at most."`
	Every   time.Duration `star:"every" doc:"Pause between two looks."`
}

// lookLimit bounds a single look, so that one which hangs is not the whole wait.
const lookLimit = 10 * time.Second

// until looks until there is no error, which says why it is not so yet.
func (p pace) until(ctx context.Context, what string, look func(context.Context) error) (time.Duration, error) {
	if p.Every <= 0 {
		return 0, errors.New("every is 0: pause between two looks, \"1s\"")
	}
	started := time.Now()
	deadline := started.Add(p.Timeout)
	dry, pending := builtin.DryRun(ctx)
	for {
		limit := min(lookLimit, max(time.Until(deadline), time.Second))
		once, cancel := context.WithTimeout(ctx, limit)
		err := look(once)
		cancel()
		switch {
		case err == nil:
			return time.Since(started), nil
		case ctx.Err() != nil:
			return 0, ctx.Err()
		case dry && pending:
			return 0, &outcome.Undetermined{What: what, Err: err}
		case dry:
			return 0, fmt.Errorf("%s: not so now, and a dry run looks once: %w", what, err)
		case !time.Now().Before(deadline):
			return 0, &outcome.Deadline{What: what, After: p.Timeout, Last: err}
		}
		if host.Pause(ctx, min(p.Every, time.Until(deadline))) != nil {
			return 0, ctx.Err()
		}
	}
}
