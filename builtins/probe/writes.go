package probe

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"go.starlark.net/starlark"

	"github.com/pgrun/pgrun/runtime/builtin"
	"github.com/pgrun/pgrun/runtime/outcome"
)

type writesParams struct {
	During       builtin.Callable  `star:"during,required" doc:"What is done while the clients write: a function of one parameter, which tells what they have seen so far."`
	Servers      builtin.StringMap `star:"servers,required" doc:"The servers: a dict of the names that their certificates carry, and the addresses to connect to."`
	Port         int               `star:"port" doc:"The servers' port."`
	Database     string            `star:"database,required" doc:"The database to write to."`
	User         string            `star:"user,required" doc:"The role to log in as."`
	Password     builtin.Text      `star:"password,required" doc:"Its password."`
	CA           builtin.Text      `star:"ca,required" doc:"The certificate, in PEM form, of the authority that the servers' certificates are verified with."`
	Writers      int               `star:"writers" doc:"How many clients write at once, 100 at most."`
	Readers      int               `star:"readers" doc:"How many clients read from each server at once, whatever that is just then, 100 at most: they look for a server that calls itself the primary, and lacks what was acknowledged. With them, one more client writes to each server, and to no other."`
	Every        time.Duration     `star:"every" doc:"Pause of each client between two writes."`
	WriteTimeout time.Duration     `star:"write_timeout" doc:"After how long a write that is not acknowledged counts as indeterminate. The client connects anew then."`
	Timeout      time.Duration     `star:"timeout" doc:"How long to look for a server that takes writes: before the function is called, and again afterwards to verify."`
}

func (p writesParams) validate() error {
	switch {
	case len(p.Servers) == 0:
		return errors.New("servers: the dict is empty")
	case p.Port < 1 || p.Port > 65535:
		return fmt.Errorf("port: %d is not in 1 to 65535", p.Port)
	case p.Database == "":
		return errors.New("database: it is empty")
	case p.User == "":
		return errors.New("user: it is empty")
	case p.Writers < 1 || p.Writers > 100:
		return fmt.Errorf("writers: %d is not in 1 to 100", p.Writers)
	case p.Readers < 0 || p.Readers > 100:
		return fmt.Errorf("readers: %d is not in 0 to 100", p.Readers)
	case p.Every < time.Millisecond:
		return fmt.Errorf("every: %s is less than 1ms", p.Every)
	case p.WriteTimeout <= 0:
		return errors.New("write_timeout: want more than 0s")
	case p.Timeout <= 0:
		return errors.New("timeout: want more than 0s")
	}
	return nil
}

func writes(c *builtin.Call, p writesParams) (starlark.Value, error) {
	if err := p.validate(); err != nil {
		return nil, fmt.Errorf("%s: for parameter %w", c.Name, err)
	}
	servers, err := newCluster(p)
	if err != nil {
		return nil, fmt.Errorf("%s: for parameter %w", c.Name, err)
	}
	r := &run{writesParams: p, servers: servers, record: newLedger()}
	if c.Scope.Check {
		return r.dryRun(c)
	}
	event := builtin.Event{Host: c.Scope.Host.Name, Builtin: c.Name, Position: c.Thread.CallFrame(1).Pos.String(), Status: builtin.Same}
	began := time.Now()
	value, err := r.do(c)
	if event.Took = time.Since(began); err != nil {
		event.Status = builtin.FailedStatus
	}
	c.Scope.Report(event)
	return value, err
}

// dryRun calls the function without any client, for what it would do.
func (r *run) dryRun(c *builtin.Call) (starlark.Value, error) {
	c.Scope.Report(builtin.Event{
		Host: c.Scope.Host.Name, Builtin: c.Name, Position: c.Thread.CallFrame(1).Pos.String(), Status: builtin.Changed,
		Summary: []string{fmt.Sprintf("write to table %s of database %s with %d clients, and drop it", table, r.Database, r.Writers)},
	})
	if _, err := r.During.Call(c.Thread, handle{r.record}); err != nil {
		return nil, err
	}
	return nil, &outcome.Undetermined{What: c.Name}
}

// run is one call of probe.writes.
type run struct {
	writesParams
	servers cluster
	record  *ledger

	writing context.Context // until stop
	stop    context.CancelFunc
	clients sync.WaitGroup
}

// dropTimeout bounds the removal of the table after the task was cancelled.
const dropTimeout = 5 * time.Second

func (r *run) do(c *builtin.Call) (starlark.Value, error) {
	ctx := c.Scope.Context
	fail := func(doing string, err error) error {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return &builtin.Failure{Host: c.Scope.Host.Name, Builtin: c.Name, Err: fmt.Errorf("%s: %w", doing, err)}
	}
	defer r.servers.wait()
	if err := r.begin(ctx); err != nil {
		return nil, fail("starting to write", err)
	}
	value, err := r.During.Call(c.Thread, handle{r.record})
	r.end()

	if ctx.Err() != nil {
		last, cancel := context.WithTimeout(c.Scope.Root, dropTimeout)
		defer cancel()
		if dropErr := r.drop(last); dropErr != nil {
			c.Scope.Log(fmt.Sprintf("table %s stays in database %s until the next run: %v", table, r.Database, dropErr))
		}
		if err == nil {
			err = context.Cause(ctx)
		}
		return nil, err
	}

	lost, unverified := r.verify(ctx)
	if err != nil {
		switch {
		case unverified != nil:
			c.Scope.Log(fmt.Sprintf("the writes could not be verified: %v", unverified))
		case len(lost) > 0:
			c.Scope.Log(fmt.Sprintf("%d of %d acknowledged writes are lost", len(lost), r.record.acknowledged()))
		}
		return nil, err
	}
	return r.result(value, lost, unverified), nil
}

// begin makes the table and starts the writers. Each has written once when it returns.
func (r *run) begin(ctx context.Context) error {
	limited, cancel := context.WithTimeout(ctx, r.Timeout)
	defer cancel()
	if err := r.prepare(limited); err != nil {
		return err
	}
	r.writing, r.stop = context.WithCancel(ctx)
	wrote := make(chan struct{}, r.Writers)
	for i := range r.Writers {
		r.clients.Go(func() { r.write(i+1, r.servers, wrote) })
	}
	for range r.Writers {
		select {
		case <-wrote:
		case <-limited.Done():
			r.end()
			return errors.Join(fmt.Errorf("no acknowledged write after %s", r.Timeout), r.servers.problems())
		}
	}
	for i, s := range r.servers {
		if r.Readers > 0 {
			r.clients.Go(func() { r.write(r.Writers+i+1, cluster{s}, nil) })
		}
		for range r.Readers {
			r.clients.Go(func() { r.read(s) })
		}
	}
	return nil
}

// writers is how many there are: those that take any server, and with readers one that stays with each, to which an old primary that
// is back might acknowledge what the others do not ask it for any more.
func (r *run) writers() int {
	if r.Readers == 0 {
		return r.Writers
	}
	return r.Writers + len(r.servers)
}

// end stops the clients, each writer after the write that it is at.
func (r *run) end() {
	r.stop()
	r.clients.Wait()
	r.record.close()
}
