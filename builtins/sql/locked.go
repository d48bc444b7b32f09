package sql

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"go.starlark.net/starlark"

	"github.com/pgrun/pgrun/runtime/builtin"
	"github.com/pgrun/pgrun/runtime/postgres"
)

type lockedParams struct {
	Host   builtin.Host     `star:"host,required" doc:"The host that the server is on."`
	During builtin.Callable `star:"during,required" doc:"What is done under the lock: a function without parameters."`
	Name   string           `star:"name,required" doc:"The lock's name. Calls with the same one exclude each other."`
	server
}

// locked calls a function while a session holds an advisory lock, which ends with the session, and so with
// this pgrun, however that ends. A lock needs no right to write.
func locked(c *builtin.Call, p lockedParams) (starlark.Value, error) {
	if p.Name == "" {
		return nil, fmt.Errorf("%s: for parameter name: it is empty", c.Name)
	}
	if err := p.validate(); err != nil {
		return nil, fmt.Errorf("%s: for parameter %w", c.Name, err)
	}
	if !c.Scope.Check { // a dry run disturbs nobody
		release, err := p.lock(c.Scope.Context)
		if err != nil {
			return nil, &builtin.Failure{Host: p.Host.Name, Builtin: c.Name, Err: err}
		}
		defer release()
	}
	return p.During.Call(c.Thread)
}

// unlockTimeout is how long giving up a lock may take.
const unlockTimeout = time.Second

func (p lockedParams) lock(ctx context.Context) (release func(), err error) {
	ctx, cancel := context.WithTimeout(ctx, p.Timeout)
	defer cancel()
	r, err := p.Host.Reader()
	if err != nil {
		return nil, err
	}
	conn, err := postgres.Connect(ctx, r, p.target())
	if err != nil {
		return nil, err
	}
	hangUp := func() { postgres.HangUp(conn) }
	var got bool
	if err := conn.QueryRow(ctx, "SELECT pg_try_advisory_lock(hashtextextended($1, 0))", p.Name).Scan(&got); err != nil {
		hangUp()
		return nil, postgres.Explain(err)
	}
	if got {
		return func() {
			// Not by the hanging up alone: a session that is hung up may hold it for a moment yet.
			ctx, cancel := context.WithTimeout(context.Background(), unlockTimeout)
			defer cancel()
			_, _ = conn.Exec(ctx, "SELECT pg_advisory_unlock_all()") // where that fails, the session's end does it
			hangUp()
		}, nil
	}
	defer hangUp()
	var since time.Time
	err = conn.QueryRow(ctx, `
		SELECT a.backend_start FROM pg_locks l JOIN pg_stat_activity a USING (pid)
		WHERE l.locktype = 'advisory' AND l.objsubid = 1
		  AND (l.classid::bigint << 32) | l.objid::bigint = hashtextextended($1, 0)`, p.Name).Scan(&since)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, fmt.Errorf("the lock %q was held by another run, which has just ended: try again", p.Name)
	}
	if err != nil {
		return nil, postgres.Explain(err)
	}
	return nil, fmt.Errorf("the lock %q is held by another run, since %s: wait until that has ended", p.Name, since.UTC().Format("2006-01-02 15:04:05 UTC"))
}
