package incus

import (
	"context"
	"time"

	"github.com/pgrun/pgrun/runtime/host"
)

// server is what incus.server returns.
type server struct {
	Reachable bool              `star:"reachable" doc:"Whether the daemon answers. If it does not, the attributes below error are empty."`
	Error     string            `star:"error" doc:"Why it cannot be reached."`
	Version   string            `star:"version" doc:"Such as 6.0.4."`
	Name      string            `star:"name" doc:"Of the machine, or of the cluster's member that answered."`
	Clustered bool              `star:"clustered" doc:"Whether it is a member of a cluster."`
	Config    map[string]string `star:"config" doc:"The daemon's own configuration."`
}

// answerTime bounds how long the daemon has to answer: one that is starting takes connections before it does.
const answerTime = 5 * time.Second

func describeServer(ctx context.Context, r host.Reader, _ struct{}) (server, error) {
	soon, cancel := within(ctx, answerTime, "no answer")
	defer cancel()
	s, _, err := daemon(soon, r)
	if err == nil {
		info, looked := s.Info(soon)
		if looked == nil {
			return server{true, "", info.Version, info.Name, info.Clustered, info.Config}, nil
		}
		err = looked
	}
	if ctx.Err() != nil {
		return server{}, context.Cause(ctx)
	}
	return server{Error: err.Error()}, nil
}
