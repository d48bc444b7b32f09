// Package report shows what a run does, as it does it: to a person (Text) or to a program (JSON).
//
// The runner tells a Sink what happens, from many goroutines but one call at a time. Everything that a
// Sink is given has been through the secret mask already.
package report

import (
	"time"

	"github.com/pgrun/pgrun/runtime/builtin"
)

// Sink is told what happens in a run.
type Sink interface {
	// Play begins: its hosts will do its tasks. A serial play begins once for each batch.
	Play(Play)

	// TaskStart says that a host begins a task.
	TaskStart(TaskRef)

	// Event says what a builtin did in a task.
	Event(TaskRef, builtin.Event)

	// TaskEnd says how a task ended on a host.
	TaskEnd(TaskResult)

	// Note is a line about the run as a whole.
	Note(string)

	// Recap ends the report.
	Recap(Recap)
}

// Play is a play, or a batch of a serial one.
type Play struct {
	Name  string
	Batch string // "2 of 3"; empty where the play is not serial
	Hosts []string
	Tasks []string // titles
}

// TaskRef names a task on a host.
type TaskRef struct {
	Task int // index in the play
	Host string
}

// TaskResult is how a task ended on a host.
type TaskResult struct {
	TaskRef
	Status Status
	Error  string // with the traceback; empty unless it failed
	Took   time.Duration
}

// Status is how a task ended.
type Status string

// How a task can end.
const (
	OK           Status = "ok"
	Changed      Status = "changed"
	Failed       Status = "failed"
	Unreachable  Status = "unreachable"
	Undetermined Status = "undetermined" // in a dry run: it depends on changes not made
	Cancelled    Status = "cancelled"    // by a signal, or by exit() on another host
	Exited       Status = "exited"       // it called exit()
)

// Recap is the run in numbers.
type Recap struct {
	Check   bool
	Hosts   []HostRecap
	Took    time.Duration
	Code    int
	Message string // why it ended, where that is not plain from the rest
}

// HostRecap is a host's run in numbers of tasks. Each is one of ok, unreachable, failed and skipped, unless
// something cut it off. Those that changed something, or may have before they failed, are counted as changed besides;
// in a dry run those that would, and the undetermined, which are ok.
type HostRecap struct {
	Host                                      string
	OK, Changed, Unreachable, Failed, Skipped int
	Undetermined                              int           // of those that count as changed in a dry run
	Took                                      time.Duration // in its tasks
	Reached                                   string        // the task it stopped at; empty when it got to the end
}
