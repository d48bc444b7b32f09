package guard

import (
	"context"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgrun/pgrun/runtime/host"
	"github.com/pgrun/pgrun/runtime/postgres"
	"github.com/pgrun/pgrun/runtime/transport"
)

const (
	// signEvery is the pause between two questions, and signTimeout how long an answer may take.
	signEvery   = 500 * time.Millisecond
	signTimeout = time.Second

	// signRetry is the pause after one that failed at once.
	signRetry = 100 * time.Millisecond
)

// sign is what is known of the life of a node's machine and of its server.
type sign struct {
	// unanswered counts the questions that got no answer, neither by the server nor by anything else on the machine, since the last
	// that did, and silent is when the first of them was asked.
	silent     moment
	unanswered int

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

// watcher keeps asking one node for a sign of life.
type watcher struct {
	open   func(context.Context) (*transport.Reader, error) // a new way to the machine
	target postgres.Target
	wake   func() // called where a look is due

	mu   sync.Mutex
	last sign
}

func (w *watcher) sign() sign {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.last
}

// promoted says that the server is no standby any more, which it has not been asked yet.
func (w *watcher) promoted() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.last.recovering = false
}

// run asks until ctx ends.
func (w *watcher) run(ctx context.Context) {
	var reader *transport.Reader
	// A machine that is gone may hold up the end of its session, and the next question is not to wait for that.
	hangUp := func() {
		if gone := reader; gone != nil {
			go func() { _ = gone.Close() }()
		}
		reader = nil
	}
	defer hangUp()
	for ctx.Err() == nil {
		began := now()
		if reader == nil {
			reader, _ = w.open(ctx) // an error is no answer, either
		}
		answered := w.ask(ctx, reader, began)
		if !answered {
			hangUp()
			pause := signRetry
			switch n := w.sign().unanswered; {
			case n <= 2: // what matters happens now; the guard then looks by itself
				w.wake()
			case n > 20:
				pause = signEvery
			}
			_ = host.Pause(ctx, pause)
			continue
		}
		select {
		case <-reader.Lost():
			w.wake()
		case <-time.After(signEvery - now().since(began)):
		case <-ctx.Done():
		}
	}
}

// ask asks the server and the machine. It reports whether either answered.
func (w *watcher) ask(ctx context.Context, r *transport.Reader, began moment) bool {
	var served, alive, recovering bool
	if r != nil {
		limited, cancel := context.WithTimeout(ctx, signTimeout)
		defer cancel()
		var asking sync.WaitGroup
		asking.Go(func() {
			served = postgres.Read(limited, r, w.target, func(tx pgx.Tx) error {
				return tx.QueryRow(limited, "SELECT pg_is_in_recovery()").Scan(&recovering)
			}) == nil
		})
		_, err := r.Stat(limited, "/")
		asking.Wait()
		alive = served || err == nil
	}
	if ctx.Err() != nil {
		return false
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if alive {
		w.last.unanswered = 0
	} else {
		if w.last.unanswered == 0 {
			w.last.silent = began
		}
		w.last.unanswered++
	}
	if served {
		w.last.served, w.last.recovering = now(), recovering
	}
	return alive
}
