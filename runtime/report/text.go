package report

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/pgrun/pgrun/runtime/builtin"
)

// TextOptions say how a Text looks.
type TextOptions struct {
	Color   bool
	Diff    bool // show diffs
	Verbose bool // show the builtins that had nothing to do, too
	Check   bool // a dry run

	// Width asks for the width of the terminal, where a line about the progress is kept below the rest; nil is
	// no terminal.
	Width func() int
}

// Text writes for a person. Hosts run at their own pace, but the tasks are shown one after the other, each
// with all its hosts: what a fast host did ahead is held back until its task's turn.
type Text struct {
	TextOptions
	w io.Writer

	play    Play
	current int        // index of the task being shown
	held    [][]func() // by task: what to write when its turn comes
	ended   []map[string]bool
	titled  bool // the current task's title is written
	live    liveLine
}

// NewText returns a Sink that writes to w.
func NewText(w io.Writer, o TextOptions) *Text {
	t := &Text{TextOptions: o, w: w}
	t.live = liveLine{w: w, width: o.Width}
	return t
}

// Play implements Sink.
func (t *Text) Play(p Play) {
	t.play, t.current, t.titled = p, 0, false
	t.held = make([][]func(), len(p.Tasks))
	t.ended = make([]map[string]bool, len(p.Tasks))
	for i := range t.ended {
		t.ended[i] = map[string]bool{}
	}
	title := p.Name
	if p.Batch != "" {
		title += fmt.Sprintf(" (%s: %s)", p.Batch, strings.Join(p.Hosts, ", "))
	}
	t.print("\n" + t.paint(bold, "PLAY ["+title+"]") + "\n")
	t.live.begin(p)
}

// TaskStart implements Sink.
func (t *Text) TaskStart(r TaskRef) { t.live.start(r) }

// Event implements Sink.
func (t *Text) Event(r TaskRef, e builtin.Event) {
	if text := t.event(e); text != "" {
		t.inTurn(r.Task, func() { t.print(text) })
	}
}

// TaskEnd implements Sink.
func (t *Text) TaskEnd(r TaskResult) {
	t.live.end(r)
	if r.Task != t.current && (r.Status == Failed || r.Status == Unreachable) {
		t.print(t.paint(red, fmt.Sprintf("[%s] ended early, in %s: see below", r.Host, t.play.Tasks[r.Task])) + "\n")
	}
	t.inTurn(r.Task, func() { t.print(t.result(r)) })
	t.ended[r.Task][r.Host] = true
	if final(r.Status) { // the host does not get to the tasks after this one
		for i := r.Task + 1; i < len(t.ended); i++ {
			t.ended[i][r.Host] = true
		}
	}
	t.advance()
}

func final(s Status) bool { return s != OK && s != Changed && s != Undetermined }

// advance moves on to the next task while all hosts have ended the current one.
func (t *Text) advance() {
	for t.current < len(t.play.Tasks) && len(t.ended[t.current]) == len(t.play.Hosts) {
		t.current++
		t.titled = false
		if t.current == len(t.play.Tasks) {
			return
		}
		held := t.held[t.current]
		t.held[t.current] = nil
		for _, write := range held {
			t.inTurn(t.current, write)
		}
	}
}

// inTurn writes now if the task is the current one, and otherwise when it comes to be.
func (t *Text) inTurn(task int, write func()) {
	if task != t.current {
		t.held[task] = append(t.held[task], write)
		return
	}
	if !t.titled {
		t.titled = true
		t.print("\n" + t.paint(bold, "TASK ["+t.play.Tasks[task]+"]") + "\n")
	}
	write()
}

// event is what one builtin's call shows; nothing where it changed nothing.
func (t *Text) event(e builtin.Event) string {
	var b strings.Builder
	switch e.Status {
	case builtin.Logged:
		for _, message := range e.Summary {
			for line := range strings.Lines(message) {
				fmt.Fprintf(&b, "  %s: %s\n", e.Host, printable(line))
			}
		}
	case builtin.Changed, builtin.Unknown:
		color := yellow
		for _, line := range e.Summary {
			fmt.Fprintf(&b, "  %s\n", t.paint(color, e.Host+": "+e.Builtin+": "+printable(line)))
		}
		if t.Diff {
			b.WriteString(t.diff(e.Diff))
		}
	case builtin.FailedStatus: // the task's own failure is shown with it
		for _, line := range e.Summary {
			fmt.Fprintf(&b, "  %s\n", t.paint(red, e.Host+": "+e.Builtin+": attempted: "+printable(line)))
		}
		if t.Diff {
			b.WriteString(t.diff(e.Diff))
		}
		if t.Verbose {
			fmt.Fprintf(&b, "  %s: %s\n", e.Host, printable(words(e.Builtin+":", "failed", e.Object, short(e.Took))))
		}
	case builtin.Same:
		if t.Verbose {
			fmt.Fprintf(&b, "  %s: %s\n", e.Host, printable(words(e.Builtin+":", "ok", e.Object, short(e.Took))))
		}
	}
	return b.String()
}

// words joins those that are not empty.
func words(all ...string) string {
	return strings.Join(slices.DeleteFunc(all, func(w string) bool { return w == "" }), " ")
}

func (t *Text) diff(diff string) string {
	var b strings.Builder
	for line := range strings.Lines(diff) {
		line = printable(line)
		color := ""
		switch {
		case strings.HasPrefix(line, "+"):
			color = green
		case strings.HasPrefix(line, "-"):
			color = red
		case strings.HasPrefix(line, "@@"):
			color = cyan
		}
		fmt.Fprintf(&b, "    %s\n", t.paint(color, line))
	}
	return b.String()
}

func (t *Text) result(r TaskResult) string {
	word, color := string(r.Status), green
	switch r.Status {
	case Changed:
		color = yellow
		if t.Check {
			word = "would change"
		}
	case Failed, Unreachable:
		color = red
	case Undetermined, Cancelled, Exited:
		color = cyan
	}
	s := t.paint(color, fmt.Sprintf("%s: [%s]", word, r.Host)) + " " + short(r.Took) + "\n"
	if r.Error != "" {
		for line := range strings.Lines(r.Error) {
			s += "  " + t.paint(color, printable(line)) + "\n"
		}
	}
	return s
}

// Note implements Sink.
func (t *Text) Note(message string) { t.print(lines(message) + "\n") }

// Recap implements Sink. Its lines have the form that Ansible's have, with the time behind.
func (t *Text) Recap(r Recap) {
	t.live.finish()
	title := "RECAP"
	if r.Check {
		title = "RECAP of a dry run: nothing was changed"
	}
	t.print("\n" + t.paint(bold, title) + "\n")
	width := 0
	for _, h := range r.Hosts {
		width = max(width, len(h.Host))
	}
	for _, h := range r.Hosts {
		color := green
		switch {
		case h.Failed+h.Unreachable > 0:
			color = red
		case h.Changed > 0:
			color = yellow
		}
		t.print(fmt.Sprintf("%s : ok=%-3d changed=%-3d unreachable=%-3d failed=%-3d skipped=%-3d %s",
			t.paint(color, fmt.Sprintf("%-*s", width, h.Host)), h.OK, h.Changed, h.Unreachable, h.Failed, h.Skipped, short(h.Took)))
		if h.Undetermined > 0 {
			t.print(fmt.Sprintf("  undetermined=%d", h.Undetermined))
		}
		if h.Reached != "" {
			t.print("  stopped at: " + h.Reached)
		}
		t.print("\n")
	}
	last := fmt.Sprintf("%s in all", short(r.Took))
	if r.Code != 0 {
		last += fmt.Sprintf("; exit code %d", r.Code)
	}
	if r.Message != "" {
		last += ": " + lines(r.Message)
	}
	t.print(last + "\n")
}

func (t *Text) print(s string) {
	t.live.clear()
	_, _ = io.WriteString(t.w, s) // what w cannot take is its owner's to tell
	t.live.draw()
}

// lines is a text whose lines are printable.
func lines(text string) string {
	all := strings.Split(text, "\n")
	for i, line := range all {
		all[i] = printable(line)
	}
	return strings.Join(all, "\n")
}

// printable is a line without what a terminal would act on: a machine's output may hold anything.
func printable(line string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\t':
			return r
		case r < ' ' && r != '\n':
			return '\u2400' + r // its picture
		case r == '\n':
			return -1
		case r == 0x7f, r >= 0x80 && r < 0xa0:
			return '\ufffd'
		}
		return r
	}, strings.ToValidUTF8(strings.TrimRight(line, "\r\n"), "\ufffd"))
}

// short writes a duration with two or three figures.
func short(d time.Duration) string {
	switch {
	case d < 10*time.Millisecond:
		return fmt.Sprintf("%.1fms", float64(d)/float64(time.Millisecond))
	case d < time.Second:
		return fmt.Sprintf("%dms", d.Milliseconds())
	case d < time.Minute:
		return fmt.Sprintf("%.1fs", d.Seconds())
	}
	return d.Round(time.Second).String()
}
