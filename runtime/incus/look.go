package incus

import (
	"context"
	"errors"
	"time"
)

// How long a look may take, whatever time its context has.
const (
	lookTimeout = 30 * time.Second // in all
	tryTimeout  = 15 * time.Second // its first try: a lost cluster member takes the daemon 10 s to notice
)

// errBusy is why a look ends that got no answer.
var errBusy = errors.New("no answer within 30s, to two requests: the daemon is busy, or hangs: try again, and see whether incus list answers")

// look asks the daemon something, and once more where no answer comes: on a machine with much to do it happens that
// one request of many waits for long.
func look[T any](ctx context.Context, s *Server, doing string, ask func(context.Context) (T, error)) (T, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, lookTimeout, errBusy)
	defer cancel()
	try, cancelTry := context.WithTimeout(ctx, tryTimeout)
	defer cancelTry()
	got, err := ask(try)
	if err != nil && try.Err() != nil && ctx.Err() == nil {
		got, err = ask(ctx)
	}
	return got, s.explain(ctx, doing, err)
}
