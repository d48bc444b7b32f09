package builtin

import (
	"context"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"time"

	"go.starlark.net/starlark"

	"github.com/pgrun/pgrun/runtime/host"
	"github.com/pgrun/pgrun/runtime/inventory"
	"github.com/pgrun/pgrun/runtime/secret"
)

// Scope is what a running task gives the builtins that it calls. One goroutine uses it at a time.
type Scope struct {
	// Context ends with the task, or sooner: with the nearest deadline around the call.
	Context context.Context

	Check bool // a dry run
	Host  *inventory.Host
	Hosts Hosts
	Mask  *secret.Mask

	// Report is told what each builtin did.
	Report func(Event)

	// Root is done when even clean-ups have to end.
	Root context.Context

	depth int // of threads, see Fresh
}

// Hosts reaches the hosts of the inventory.
type Hosts interface {
	// Reader returns the looking half of a host.
	Reader(h *inventory.Host) (host.Reader, error)

	// Host returns both halves; under --check it is an error.
	Host(h *inventory.Host) (host.Host, error)

	// Announced returns what this dry run would have changed on h by now, in order.
	Announced(h *inventory.Host) []Announcement

	// Announce notes that something on h would change.
	Announce(h *inventory.Host, a Announcement)
}

// Announcement is a change that a dry run would make.
type Announcement struct {
	Builtin, Object   string   // see Event
	Writes, Readers   []string // see Change
	Replaces, Removes []string // see Change
	Vague             bool     // details are not known: what is written may be other files, too
}

// Announcements is what a dry run would have changed by now, for Hosts to embed. The zero value is ready.
type Announcements struct {
	mu sync.Mutex
	on map[string][]Announcement // by host
}

// Announced is Hosts' method.
func (all *Announcements) Announced(h *inventory.Host) []Announcement {
	all.mu.Lock()
	defer all.mu.Unlock()
	return slices.Clip(all.on[h.Name])
}

// Announce is Hosts' method.
func (all *Announcements) Announce(h *inventory.Host, a Announcement) {
	all.mu.Lock()
	defer all.mu.Unlock()
	if all.on == nil {
		all.on = map[string][]Announcement{}
	}
	all.on[h.Name] = append(all.on[h.Name], a)
}

// Event says what one call of a builtin did.
type Event struct {
	Host     string
	Builtin  string // "apt.install"; empty for a line that a script logged
	Object   string // what the call is about, its first argument: a path, a package; empty for what is no name
	Position string // file:line:col of the call
	Status   Status
	Summary  []string // of a failed call: what it set out to do, some of which may be done; nil if nothing was begun
	Diff     string
	Took     time.Duration
	Data     map[string]any // of a logged line: strings, bools and numbers, for programs
}

// Changes reports whether the call changed something, or would, or failed while it did.
func (e Event) Changes() bool {
	return e.Status == Changed || e.Status == Unknown || e.Attempted()
}

// Attempted reports whether the call failed after it had begun to change something.
func (e Event) Attempted() bool { return e.Status == FailedStatus && len(e.Summary) > 0 }

// Status is what a builtin's call came to.
type Status string

// What a call can come to.
const (
	Same         Status = "ok"      // nothing to change, or only looked
	Changed      Status = "changed" // or would change, in a dry run
	Unknown      Status = "unknown" // would change; the details are not known until applied
	FailedStatus Status = "failed"
	Logged       Status = "log"
)

type callKey struct{}

// state is what a call's context knows of the run.
type state struct {
	check     bool
	announced []Announcement
}

// DryRun reports whether ctx is that of a builtin's call in a dry run, and whether something on the
// call's host would have changed by then: what the look finds may not be what a real run will find.
func DryRun(ctx context.Context) (dry, pending bool) {
	s, _ := ctx.Value(callKey{}).(state)
	return s.check, len(s.announced) > 0
}

// Unread returns what a dry run would have written on the call's host by then since a reader read its files, and whether that was
// in this dry run at all.
func Unread(ctx context.Context, reader string) (paths []string, read bool) {
	s, _ := ctx.Value(callKey{}).(state)
	for _, a := range slices.Backward(s.announced) {
		if slices.Contains(a.Readers, reader) {
			return paths, true
		}
		paths = append(paths, a.Writes...)
	}
	return paths, false
}

// Pending returns what a dry run would have changed on the call's host by then.
func Pending(ctx context.Context) []Announcement {
	s, _ := ctx.Value(callKey{}).(state)
	return s.announced
}

// Written returns what a dry run would have written on the call's host by then.
func Written(ctx context.Context) (paths []string) {
	s, _ := ctx.Value(callKey{}).(state)
	for _, a := range s.announced {
		paths = append(paths, a.Writes...)
	}
	return paths
}

// LastReader returns which of some readers would have read its files last in a dry run by then; empty for none of them.
func LastReader(ctx context.Context, readers ...string) string {
	s, _ := ctx.Value(callKey{}).(state)
	for _, a := range slices.Backward(s.announced) {
		for _, reader := range readers {
			if slices.Contains(a.Readers, reader) {
				return reader
			}
		}
	}
	return ""
}

// WritesUnknown reports whether a dry run would have changed the call's host by a step that does not say what it writes.
func WritesUnknown(ctx context.Context) bool {
	s, _ := ctx.Value(callKey{}).(state)
	return slices.ContainsFunc(s.announced, Announcement.WritesUnknown)
}

// OfFile reports whether a is about files that it names, and nothing else.
func (a Announcement) OfFile() bool {
	return strings.HasPrefix(a.Builtin, "file.") && !(a.Vague && a.Builtin == "file.copy") // of a tree
}

// WritesUnknown reports whether other files may be written than a says.
func (a Announcement) WritesUnknown() bool { return a.Vague || len(a.Writes) == 0 }

// contextOf returns the context that a builtin called on the host gets.
func (s *Scope) contextOf(on *inventory.Host) context.Context {
	return context.WithValue(s.Context, callKey{}, state{s.Check, s.Hosts.Announced(on)})
}

// Files finds the files of the project that scripts name.
type Files interface {
	// Resolve says where the file is that a script calls path. It may not exist; one outside of the
	// project is an error.
	Resolve(script, path string) (fsys fs.FS, name string, err error)
}

const (
	scopeKey = "pgrun.scope"
	filesKey = "pgrun.files"
)

// maxDepth bounds how deep threads of the script are nested, see Fresh.
const maxDepth = 8

// Bind gives a thread its scope, before the thread runs.
func Bind(thread *starlark.Thread, s *Scope) { thread.SetLocal(scopeKey, s) }

// ScopeOf returns the thread's scope, or nil while a playbook loads.
func ScopeOf(thread *starlark.Thread) *Scope {
	s, _ := thread.Local(scopeKey).(*Scope)
	return s
}

// BindFiles gives a thread the project's files, before the thread runs.
func BindFiles(thread *starlark.Thread, f Files) { thread.SetLocal(filesKey, f) }

// callerOf says where the builtin that runs now was called from.
func callerOf(thread *starlark.Thread) caller {
	files, _ := thread.Local(filesKey).(Files)
	from := caller{scope: ScopeOf(thread), files: files}
	if thread.CallStackDepth() > 1 {
		from.file = thread.CallFrame(1).Pos.Filename()
	}
	return from
}

// Within makes the scope's context ctx until the returned function is called.
func (s *Scope) Within(ctx context.Context) (leave func()) {
	outer := s.Context
	s.Context = ctx
	return func() { s.Context = outer }
}

// Fresh runs f on a new thread whose context is ctx, for what must run although the caller's thread was
// cancelled. The dialect's check against recursion does not see through a new thread, so the depth of
// threads is bounded here.
func (s *Scope) Fresh(thread *starlark.Thread, ctx context.Context, f Callable) (starlark.Value, error) {
	if s.depth >= maxDepth {
		return nil, fmt.Errorf("nested %d deep: endless recursion?", maxDepth)
	}
	inner := *s
	inner.Context = ctx
	inner.depth++
	fresh := &starlark.Thread{Name: thread.Name, Print: thread.Print, Load: thread.Load}
	Bind(fresh, &inner)
	fresh.SetLocal(filesKey, thread.Local(filesKey))
	stop := context.AfterFunc(ctx, func() { fresh.Cancel(context.Cause(ctx).Error()) })
	defer stop()
	return f.Call(fresh)
}

// Log reports a line of the script's own.
func (s *Scope) Log(message string) {
	s.Report(Event{Host: s.Host.Name, Status: Logged, Summary: []string{message}})
}
