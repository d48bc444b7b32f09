package incus

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	client "github.com/lxc/incus/v6/client"
	"github.com/lxc/incus/v6/shared/api"

	"github.com/pgrun/pgrun/runtime/host"
)

// finish waits until an operation has ended and returns its error. When ctx ends first it asks the
// daemon to cancel the operation, which few kinds allow: the download of an image does, the unpacking
// of one goes on.
//
// The client's own Wait takes an operation that is still running at its deadline for done.
func (s *Server) finish(ctx context.Context, op client.Operation) (*api.Operation, error) {
	id := op.Get().ID
	got, _, err := s.client(ctx).GetOperationWait(id, -1)
	switch {
	case ctx.Err() != nil:
		after, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		_ = s.client(after).DeleteOperation(id)
		return nil, context.Cause(ctx)
	case api.StatusErrorCheck(err):
		// The operation's error. Its status says nothing of what we asked for: a start that fails for
		// want of a network is a 404, too.
		return nil, errors.New(err.Error())
	case err != nil:
		return nil, err
	case got.Err != "":
		return got, errors.New(got.Err)
	case got.StatusCode != api.Success:
		return got, errors.New("ended as " + got.Status)
	}
	return got, nil
}

// again repeats a change: a read-merge-write while somebody else writes in between, and a change of an instance
// while the daemon is busy with another: with the creation that an interrupted run left behind, for
// one, which may then start the instance. Nor is it the daemon's last word on a bridge where an interface, of a container that
// stopped, went away while it listed them.
func again(ctx context.Context, try func() error) error {
	for outrun := 0; ; {
		err := try()
		switch {
		case err == nil:
			return nil
		case api.StatusErrorCheck(err, http.StatusPreconditionFailed) && outrun < 5:
			outrun++
		case strings.Contains(err.Error(), "Failed to delete bridge children interfaces") && outrun < 5:
			outrun++
			if host.Pause(ctx, pollEvery) != nil {
				return err
			}
		case strings.Contains(err.Error(), "Instance is busy running"):
			if host.Pause(ctx, pollEvery) != nil {
				return err
			}
		default:
			return err
		}
	}
}
