package report

import (
	"encoding/json"
	"io"
	"strings"
	"time"

	"github.com/pgrun/pgrun/runtime/builtin"
)

// JSON writes an object a line: {"event": "play" | "task_start" | "builtin" | "log" | "task" | "note" | "recap", ...}.
// Times are seconds. What a builtin did is its summary; of one that failed on the way, what it set out to do is in
// "attempted" instead, and some of it may be done.
type JSON struct {
	out   *json.Encoder
	tasks []string
	play  string
}

// NewJSON returns a Sink that writes to w.
func NewJSON(w io.Writer) *JSON {
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	return &JSON{out: encoder}
}

// line is one object; what is empty is left out.
type line struct {
	Event    string         `json:"event"`
	Time     string         `json:"time"`
	Play     string         `json:"play,omitempty"`
	Batch    string         `json:"batch,omitempty"`
	Task     string         `json:"task,omitempty"`
	Host     string         `json:"host,omitempty"`
	On       string         `json:"on,omitempty"` // the host that a builtin was given
	Builtin  string         `json:"builtin,omitempty"`
	Object   string         `json:"object,omitempty"`
	At       string         `json:"at,omitempty"`
	Status   string         `json:"status,omitempty"`
	Summary  []string       `json:"summary,omitempty"`
	Attempt  []string       `json:"attempted,omitempty"`
	Diff     string         `json:"diff,omitempty"`
	Message  string         `json:"message,omitempty"`
	Data     map[string]any `json:"data,omitempty"`
	Error    string         `json:"error,omitempty"`
	Hosts    []string       `json:"hosts,omitempty"`
	Tasks    []string       `json:"tasks,omitempty"`
	Check    *bool          `json:"check,omitempty"`
	Recap    []recapEntry   `json:"recap,omitempty"`
	Took     *float64       `json:"seconds,omitempty"`
	ExitCode *int           `json:"exit_code,omitempty"`
}

type recapEntry struct {
	Host         string  `json:"host"`
	OK           int     `json:"ok"`
	Changed      int     `json:"changed"`
	Unreachable  int     `json:"unreachable"`
	Failed       int     `json:"failed"`
	Skipped      int     `json:"skipped"`
	Undetermined int     `json:"undetermined,omitempty"`
	Took         float64 `json:"seconds"`
	Reached      string  `json:"stopped_at,omitempty"`
}

func (j *JSON) write(l line) {
	l.Time = time.Now().UTC().Format("2006-01-02T15:04:05.000Z")
	_ = j.out.Encode(l) // what w cannot take is its owner's to tell
}

func seconds(d time.Duration) *float64 {
	s := float64(d.Round(time.Microsecond)) / float64(time.Second)
	return &s
}

// Play implements Sink.
func (j *JSON) Play(p Play) {
	j.play, j.tasks = p.Name, p.Tasks
	j.write(line{Event: "play", Play: p.Name, Batch: p.Batch, Hosts: p.Hosts, Tasks: p.Tasks})
}

// TaskStart implements Sink.
func (j *JSON) TaskStart(t TaskRef) {
	j.write(line{Event: "task_start", Play: j.play, Task: j.tasks[t.Task], Host: t.Host})
}

// Event implements Sink.
func (j *JSON) Event(t TaskRef, e builtin.Event) {
	l := line{Event: "builtin", Play: j.play, Task: j.tasks[t.Task], Host: t.Host, On: e.Host, Builtin: e.Builtin, Object: e.Object, At: e.Position,
		Status: string(e.Status), Summary: e.Summary, Diff: e.Diff, Took: seconds(e.Took)}
	if e.Attempted() {
		l.Summary, l.Attempt = nil, e.Summary
	}
	if e.Status == builtin.Logged {
		l = line{Event: "log", Play: j.play, Task: j.tasks[t.Task], Host: e.Host, Message: strings.Join(e.Summary, "\n"), Data: e.Data}
	}
	j.write(l)
}

// TaskEnd implements Sink.
func (j *JSON) TaskEnd(r TaskResult) {
	j.write(line{Event: "task", Play: j.play, Task: j.tasks[r.Task], Host: r.Host, Status: string(r.Status), Error: r.Error, Took: seconds(r.Took)})
}

// Note implements Sink.
func (j *JSON) Note(message string) { j.write(line{Event: "note", Message: message}) }

// Recap implements Sink.
func (j *JSON) Recap(r Recap) {
	l := line{Event: "recap", Check: &r.Check, Message: r.Message, Took: seconds(r.Took), ExitCode: &r.Code}
	for _, h := range r.Hosts {
		l.Recap = append(l.Recap, recapEntry{h.Host, h.OK, h.Changed, h.Unreachable, h.Failed, h.Skipped, h.Undetermined, *seconds(h.Took), h.Reached})
	}
	j.write(l)
}
