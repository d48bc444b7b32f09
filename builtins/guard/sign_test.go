package guard

import (
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pgrun/pgrun/runtime/host"
)

// Silence begins with the first question that nothing answered after the last sign of life, however the answers come in.
func TestQuestions(t *testing.T) {
	ms := func(n int) moment { return moment(time.Duration(n) * time.Millisecond) }
	var q questions
	check := func(when string, at moment, unanswered int, silent moment) {
		t.Helper()
		if got := q.unanswered(at); got != unanswered || got > 0 && q[0].asked != silent {
			t.Errorf("%s: %d unanswered since %v (%v)", when, got, q[0].asked, q)
		}
	}
	q.ask(ms(0))
	check("an answer is awaited", ms(999), 0, 0)
	check("and does not come", ms(1000), 1, 0)
	q.ask(ms(400))
	q.ask(ms(800))
	check("nor do the next ones", ms(1400), 2, 0)
	q.answer(ms(0))
	check("the first came late: there was life then, and none is known of since", ms(1400), 1, ms(400))
	q.answer(ms(800))
	check("a later one was answered", ms(9000), 0, 0)
	q.fail(ms(800))
	check("and is so although asked in another way, too", ms(9000), 0, 0)

	q.ask(ms(9000))
	q.fail(ms(9000))
	check("one that fails is not waited for", ms(9001), 1, ms(9000))
	for i := range 100 {
		q.ask(ms(9400 + 400*i))
	}
	check("of many, the first is known", ms(60000), maxQuestions, ms(9000))
	q.answer(ms(9400 + 400*99))
	check("and the last one", ms(60000), 0, 0)
}

// fakeSession answers while alive says so.
type fakeSession struct {
	host.Reader
	answers func(context.Context) error
	lost    chan struct{}
	closed  atomic.Bool
	dials   bool // the server of Reader's
}

var errGone = errors.New("gone")

func (f *fakeSession) Stat(ctx context.Context, _ string) (host.Info, error) {
	return host.Info{}, f.answers(ctx)
}

func (f *fakeSession) Dial(ctx context.Context, network, address, user string) (net.Conn, error) {
	if !f.dials {
		return nil, errGone
	}
	if err := f.answers(ctx); err != nil {
		return nil, err
	}
	return f.Reader.Dial(ctx, network, address, user)
}

func (f *fakeSession) Lost() <-chan struct{} { return f.lost }

func (f *fakeSession) Close() error { f.closed.Store(true); return nil }

// hangs is a machine that is frozen.
func hangs(ctx context.Context) error {
	<-ctx.Done()
	return ctx.Err()
}

// fakeMachine opens sessions, which answer as it says.
type fakeMachine struct {
	mu       sync.Mutex
	answers  func(context.Context) error
	anew     bool // only on sessions after the first
	sessions []*fakeSession
}

func (m *fakeMachine) open() session {
	m.mu.Lock()
	defer m.mu.Unlock()
	first := len(m.sessions) == 0
	s := &fakeSession{lost: make(chan struct{}), answers: func(ctx context.Context) error {
		m.mu.Lock()
		answers := m.answers
		if first && m.anew {
			answers = hangs
		}
		m.mu.Unlock()
		return answers(ctx)
	}}
	m.sessions = append(m.sessions, s)
	return s
}

func (m *fakeMachine) becomes(answers func(context.Context) error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.answers = answers
}

func (m *fakeMachine) opened() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.sessions)
}

// watched runs a watcher of the machine until the test ends.
func (m *fakeMachine) watched(t *testing.T) (w *watcher, woken *atomic.Int32) {
	woken = new(atomic.Int32)
	w = &watcher{open: m.open, wake: func() { woken.Add(1) }}
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { w.run(ctx) })
	t.Cleanup(func() { cancel(); running.Wait() })
	return w, woken
}

func alive(context.Context) error { return nil }

// answered reports whether a session of the watcher's has.
func answered(w *watcher) bool {
	proven, _ := w.lost()
	return proven != nil
}

func eventually(t *testing.T, what string, within time.Duration, is func() bool) {
	t.Helper()
	for until := time.Now().Add(within); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(until) {
			t.Fatalf("not within %s: %s", within, what)
		}
	}
}

// A machine that freezes has been silent for two seconds 2.4 s later, a new session included, which asks for the look that shows it.
func TestWatcherOfMachineThatFreezes(t *testing.T) {
	t.Parallel()
	m := &fakeMachine{answers: alive}
	w, woken := m.watched(t)
	eventually(t, "it answers", time.Second, func() bool { return answered(w) })
	if s := w.sign(); s.unanswered != 0 || m.opened() != 1 {
		t.Fatalf("%+v, %d sessions", s, m.opened())
	}
	m.becomes(hangs)
	froze := now()
	before := woken.Load()
	eventually(t, "silent", 5*time.Second, func() bool { return w.sign().silence(now()) >= leastSilence })
	took := now().since(froze)
	if took < leastSilence || took > leastSilence+signEvery+100*time.Millisecond {
		t.Errorf("silent after %s", took)
	}
	if m.opened() != 2 || woken.Load() == before {
		t.Errorf("%d sessions, woken %d times", m.opened(), woken.Load()-before)
	}
	m.becomes(alive)
	eventually(t, "it answers again", time.Second, func() bool { return w.sign().unanswered == 0 })
}

// A session that is slow to open, on a busy machine, is waited for, and the one that answered before is kept until then.
func TestWatcherKeepsSession(t *testing.T) {
	t.Parallel()
	m := &fakeMachine{answers: alive}
	w, _ := m.watched(t)
	eventually(t, "it answers", time.Second, func() bool { return answered(w) })
	m.becomes(hangs)
	eventually(t, "another session", 3*time.Second, func() bool { return m.opened() == 2 })
	time.Sleep(3 * time.Second)
	if n := m.opened(); n != 2 || m.sessions[0].closed.Load() || m.sessions[1].closed.Load() {
		t.Fatalf("%d sessions", n)
	}
	m.mu.Lock()
	m.answers, m.anew = alive, true
	m.mu.Unlock()
	eventually(t, "the new one takes its place", time.Second, func() bool { return m.sessions[0].closed.Load() })
	if s := w.sign(); s.unanswered != 0 || m.sessions[1].closed.Load() {
		t.Errorf("%+v", s)
	}
}

// A machine that stalls for less is not silent, and its session stays.
func TestWatcherOfMachineThatStalls(t *testing.T) {
	t.Parallel()
	m := &fakeMachine{answers: alive}
	w, _ := m.watched(t)
	eventually(t, "it answers", time.Second, func() bool { return answered(w) })
	m.becomes(func(ctx context.Context) error { return host.Pause(ctx, 1500*time.Millisecond) })
	for until := time.Now().Add(4 * time.Second); time.Now().Before(until); time.Sleep(10 * time.Millisecond) {
		if quiet := w.sign().silence(now()); quiet >= leastSilence {
			t.Fatalf("silent for %s", quiet)
		}
	}
}

// A link that breaks is looked at at once.
func TestWatcherOfLinkThatBreaks(t *testing.T) {
	t.Parallel()
	m := &fakeMachine{answers: alive}
	w, woken := m.watched(t)
	eventually(t, "it answers", time.Second, func() bool { return answered(w) })
	m.becomes(func(context.Context) error { return errGone })
	time.Sleep(signEvery / 4)
	before := woken.Load()
	close(m.sessions[0].lost)
	eventually(t, "a look", signEvery, func() bool { return woken.Load() > before })
	if !w.sign().broken {
		t.Error("the session that broke is not noted")
	}
	m.becomes(alive)
	eventually(t, "an answer on another session", 5*time.Second, func() bool { return !w.sign().broken })
}
