package guard

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/pgrun/pgrun/runtime/host"
	"github.com/pgrun/pgrun/runtime/postgres"
)

const (
	// signEvery is the time between two questions, whether the ones before are answered or not.
	signEvery = 400 * time.Millisecond

	// signTimeout is after how long a question counts as one without an answer, and signLimit after how long none is waited for any
	// more: one that comes late is a sign of life, too.
	signTimeout = time.Second
	signLimit   = 2 * time.Second

	// openLimit is how long a new session may take to answer until another one is opened in its place.
	openLimit = 10 * time.Second

	// A node that has been silent for longSilent is asked every signRarely only.
	longSilent = time.Minute
	signRarely = 2 * time.Second
)

// sign is what is known of the life of a node's machine and of its server.
type sign struct {
	// unanswered counts the questions that got no answer, neither by the server nor by anything else on the machine, since the last
	// that did, and silent is when the first of them was asked.
	silent     moment
	unanswered int

	// broken says that the session which had answered has ended, and that no question since has an answer.
	broken bool

	// served is when the server answered last, and recovering whether it was a standby then.
	served     moment
	recovering bool
}

// silence is for how long there has been none. One question without an answer is none: the guard itself may have been
// slow.
func (s sign) silence(at moment) time.Duration {
	if s.unanswered < 2 {
		return 0
	}
	return at.since(s.silent)
}

// questions are those which were asked since the last that was answered, in the order in which they were asked.
type questions []question

type question struct {
	asked  moment
	failed bool // there will be no answer
}

// maxQuestions is how many are remembered.
const maxQuestions = 8

// ask adds one. Of many, the first tells since when there is silence, and the last ones may yet be answered.
func (q *questions) ask(at moment) {
	if len(*q) == maxQuestions {
		*q = slices.Delete(*q, 1, 2)
	}
	*q = append(*q, question{asked: at})
}

// answer takes away the one that was asked at that moment, and those before it: there was life then.
func (q *questions) answer(asked moment) {
	*q = slices.DeleteFunc(*q, func(x question) bool { return x.asked <= asked })
}

// fail says that the one that was asked at that moment gets no answer, unless it has one.
func (q questions) fail(asked moment) {
	for i := range q {
		q[i].failed = q[i].failed || q[i].asked == asked
	}
}

// unanswered counts those without an answer, by now.
func (q questions) unanswered(at moment) (n int) {
	for _, x := range q {
		if x.failed || at.since(x.asked) >= signTimeout {
			n++
		}
	}
	return n
}

// session is one with a machine: a *transport.Reader.
type session interface {
	host.Reader
	Lost() <-chan struct{}
	Close() error
}

// way is a session that questions are asked on. Each question to the server has a connection of its own, and a server that
// hangs, on a machine that does not, is not to collect them: turns holds a token for each that is open.
type way struct {
	session
	turns chan struct{}
}

const maxTurns = 2

// watcher keeps asking one node for a sign of life: on the session that has answered and, where that is silent, on another, too.
// The one that has answered is kept until the other one does: on a busy machine it takes long to open one.
type watcher struct {
	open   func() session // makes one, which opens when it is first used
	target postgres.Target
	wake   func() // called where a look is due

	mu      sync.Mutex
	proven  *way   // has answered; nil where none has
	another *way   // has not; nil where none is needed
	made    moment // when another was made
	asked   questions
	brokeAt moment // when the session that had answered did; 0 where a question since has an answer
	server  answer
}

// answer is what a server said last.
type answer struct {
	asked, at  moment
	recovering bool
}

// sign is how the node is now.
func (w *watcher) sign() sign {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := sign{unanswered: w.asked.unanswered(now()), served: w.server.at, recovering: w.server.recovering}
	if s.unanswered > 0 {
		s.silent = w.asked[0].asked
	}
	s.broken = w.brokeAt != 0
	return s
}

// cutShort reports whether nothing on the machine answers any more, for the moment.
func (s sign) cutShort() bool { return s.broken || s.unanswered > 0 }

// promoted says that the server is no standby any more, which it has not been asked yet.
func (w *watcher) promoted() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.server.asked, w.server.recovering = now(), false
}

// run asks until ctx ends.
func (w *watcher) run(ctx context.Context) {
	var asking sync.WaitGroup
	defer asking.Wait()
	defer w.hangUp()
	for ctx.Err() == nil {
		asked, ways := w.begin()
		asking.Go(func() { w.ask(ctx, asked, ways) })
		pause := signEvery
		switch s := w.sign(); {
		case s.unanswered > 0 && s.unanswered <= 2: // what matters happens now; the guard then looks by itself
			w.wake()
		case s.silence(now()) > longSilent:
			pause = signRarely
		}
		next := time.NewTimer(pause)
		proven, lost := w.lost()
		select {
		case <-lost:
			w.broke(proven)
			w.wake()
			select {
			case <-next.C:
			case <-ctx.Done():
			}
		case <-next.C:
		case <-ctx.Done():
		}
		next.Stop()
	}
}

// begin notes a question, and says where to ask it.
func (w *watcher) begin() (asked moment, ways []*way) {
	w.mu.Lock()
	defer w.mu.Unlock()
	asked = now()
	if needed := w.proven == nil || w.asked.unanswered(asked) > 0; needed && (w.another == nil || asked.since(w.made) > openLimit) {
		w.another.hangUp()
		w.another, w.made = &way{w.open(), make(chan struct{}, maxTurns)}, asked
	}
	w.asked.ask(asked)
	for _, x := range []*way{w.proven, w.another} {
		if x != nil {
			ways = append(ways, x)
		}
	}
	return asked, ways
}

// ask asks the server and the machine. An answer of either is a sign of life.
func (w *watcher) ask(ctx context.Context, asked moment, ways []*way) {
	ctx, cancel := context.WithTimeout(ctx, signLimit)
	defer cancel()
	var asking sync.WaitGroup
	for _, x := range ways {
		asking.Go(func() {
			if _, err := x.Stat(ctx, "/"); err == nil {
				w.answered(x, asked)
			}
		})
		asking.Go(func() {
			if recovering, err := x.server(ctx, w.target); err == nil {
				w.answered(x, asked)
				w.served(answer{asked, now(), recovering})
			}
		})
	}
	asking.Wait()
	if n := w.failed(asked); n == 1 || n == 2 {
		w.wake()
	}
}

var errBusy = errors.New("other questions to the server are open")

// server asks the server whether it is a standby.
func (x *way) server(ctx context.Context, t postgres.Target) (recovering bool, err error) {
	select {
	case x.turns <- struct{}{}:
		defer func() { <-x.turns }()
	default:
		return false, errBusy
	}
	// Without its session's way of keeping connections: the guard is not to hold up a server that waits for its clients to leave.
	err = postgres.Read(ctx, struct{ host.Reader }{x.session}, t, func(tx *postgres.Tx) error {
		return tx.QueryRow(ctx, "SELECT pg_is_in_recovery()").Scan(&recovering)
	})
	return recovering, err
}

// answered notes that a question was answered on one of the ways, which thus is the one to keep.
func (w *watcher) answered(on *way, asked moment) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.asked.answer(asked)
	if asked > w.brokeAt {
		w.brokeAt = 0
	}
	switch on {
	case w.another:
		w.proven.hangUp()
		w.proven, w.another = w.another, nil
	case w.proven:
		w.another.hangUp()
		w.another = nil
	}
}

// broke notes that a session which had answered has ended, unless that was for another's sake.
func (w *watcher) broke(x *way) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.proven == x && w.brokeAt == 0 {
		w.brokeAt = now()
	}
}

// served notes what the server said, unless that is older than what is known.
func (w *watcher) served(a answer) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if a.asked >= w.server.asked {
		w.server = a
	}
}

// failed notes that nothing will answer a question any more, which is nothing where something has. It returns how many are without
// an answer.
func (w *watcher) failed(asked moment) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.asked.fail(asked)
	return w.asked.unanswered(now())
}

// lost gives the way that has answered, and what is closed when its session breaks.
func (w *watcher) lost() (*way, <-chan struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.proven == nil {
		return nil, nil
	}
	return w.proven, w.proven.Lost()
}

func (w *watcher) hangUp() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.proven.hangUp()
	w.another.hangUp()
}

// hangUp ends the session, if there is one. A machine that is gone may hold that up, and the next question is not to wait for it.
func (x *way) hangUp() {
	if x != nil {
		go func() { _ = x.Close() }()
	}
}
