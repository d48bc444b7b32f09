package incus

import (
	"context"
	"errors"
	"fmt"
	"regexp"

	"github.com/pgrun/pgrun/runtime/builtin"
	"github.com/pgrun/pgrun/runtime/host"
	"github.com/pgrun/pgrun/runtime/incus"
)

// daemon returns the daemon of a host and the name of the host's own instance there, empty for a local
// host.
//
// One that is not reached is *host.Unreachable with NoDaemon. Only in a dry run in which something on the
// host would have changed it counts as not there yet: what would have changed may be that it gets installed.
func daemon(ctx context.Context, r host.Reader) (*incus.Server, string, error) {
	s, own, err := incus.Of(ctx, r)
	if _, pending := builtin.DryRun(ctx); pending && noDaemon(err) {
		err = host.NotThere("%v", err)
	}
	return s, own, err
}

func noDaemon(err error) bool {
	var unreachable *host.Unreachable
	return errors.As(err, &unreachable) && unreachable.NoDaemon
}

// which says what instance a call is about.
type which struct {
	Instance string `star:"instance" doc:"The instance's name; the host's own if left out."`
}

// instanceName is what Incus takes as the name of an instance, which becomes its host name: of up to maxInstanceName
// letters. Counted repetitions in the expression would take a tenth of pgrun's start to compile.
var instanceName = regexp.MustCompile(`^[a-zA-Z]([a-zA-Z0-9-]*[a-zA-Z0-9])?$`)

const maxInstanceName = 63

// find returns the instance's daemon and name.
func (w which) find(ctx context.Context, r host.Reader) (*incus.Server, string, error) {
	if w.Instance != "" && (len(w.Instance) > maxInstanceName || !instanceName.MatchString(w.Instance)) {
		return nil, "", fmt.Errorf("instance: %q is no instance's name: up to 63 letters, digits and hyphens, beginning with a letter", w.Instance)
	}
	s, name, err := daemon(ctx, r)
	if err != nil {
		return nil, "", err
	}
	if w.Instance != "" {
		name = w.Instance
	}
	if name == "" {
		return nil, "", fmt.Errorf("instance: name one: %s is not an Incus instance itself", r.Name())
	}
	return s, name, nil
}
