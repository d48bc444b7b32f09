package wait

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"syscall"
	"time"

	"github.com/pgrun/pgrun/runtime/host"
)

type portParams struct {
	Port    int    `star:"port,required" doc:"TCP port."`
	Address string `star:"address" doc:"Name or address to connect to, as seen from the host."`
	State   string `star:"state" choices:"open closed" doc:"open or closed."`
	pace
}

func port(ctx context.Context, r host.Reader, p portParams) (time.Duration, error) {
	switch {
	case p.Port < 1 || p.Port > 65535:
		return 0, fmt.Errorf("port %d is none: want 1 to 65535", p.Port)
	case p.Address == "":
		return 0, errors.New("address is empty")
	}
	address := net.JoinHostPort(p.Address, strconv.Itoa(p.Port))
	return p.until(ctx, "port "+address+" "+p.State, func(ctx context.Context) error {
		conn, err := r.Dial(ctx, "tcp", address, "")
		if err == nil {
			_ = conn.Close()
		}
		switch {
		case p.State == "open":
			return err
		case err == nil:
			return errors.New("it still accepts connections")
		case errors.Is(err, syscall.ECONNREFUSED):
			return nil
		}
		// A name that does not exist, an answer that does not come, or a host that is not reached says nothing of
		// the port.
		return fmt.Errorf("whether it is closed is not known: %w", err)
	})
}
