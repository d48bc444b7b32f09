package agent

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"strings"

	"github.com/pgrun/pgrun/runtime/host"
)

// Stat is that of host.Reader, as are the others up to Dial.
func (c *Client) Stat(ctx context.Context, path string) (host.Info, error) {
	r, _, err := c.do(ctx, request{Op: opStat, Path: path}, 0)
	if err != nil {
		return host.Info{}, err
	}
	if r.Info == nil {
		return host.Info{}, errEmpty
	}
	return *r.Info, nil
}

var errEmpty = fmt.Errorf("%w: the agent's reply is empty", ErrLost)

func (c *Client) ReadFile(ctx context.Context, path string) ([]byte, error) {
	_, content, err := c.do(ctx, request{Op: opRead, Path: path}, host.MaxRead)
	return content, err
}

func (c *Client) ReadDir(ctx context.Context, path string) ([]host.Info, error) {
	_, lines, err := c.do(ctx, request{Op: opReadDir, Path: path}, host.MaxRead)
	if err != nil {
		return nil, err
	}
	// Each line makes much more of itself in memory: so they are counted first.
	n := bytes.Count(lines, []byte{'\n'})
	if n > maxEntries {
		return nil, fmt.Errorf("%w: the agent lists %d entries of %s, more than the %d that it may", ErrLost, n, path, maxEntries)
	}
	infos := make([]host.Info, 0, n)
	for line := range bytes.Lines(lines) {
		var info host.Info
		if err := json.Unmarshal(line, &info); err != nil {
			return nil, fmt.Errorf("%w: the agent's list of %s: %w", ErrLost, path, err)
		}
		if info.Name == "" || info.Name == "." || info.Name == ".." || strings.Contains(info.Name, "/") {
			return nil, fmt.Errorf("%w: the agent lists %q, which is no name of a file, in %s", ErrLost, info.Name, path)
		}
		infos = append(infos, info)
	}
	return infos, nil
}

func (c *Client) Hash(ctx context.Context, path string) (string, error) {
	r, _, err := c.do(ctx, request{Op: opHash, Path: path}, 0)
	if err != nil {
		return "", err
	}
	return r.Hash, nil
}

func (c *Client) Look(ctx context.Context, cmd host.Command) (host.Output, error) {
	return c.command(ctx, opLook, cmd)
}

func (c *Client) Facts(ctx context.Context) (host.Facts, error) {
	r, _, err := c.do(ctx, request{Op: opFacts}, 0)
	if err != nil {
		return host.Facts{}, err
	}
	if r.Facts == nil {
		return host.Facts{}, errEmpty
	}
	return *r.Facts, nil
}

func (c *Client) Dial(ctx context.Context, network, address, user string) (net.Conn, error) {
	call, err := c.open(ctx, request{Op: opDial, Network: network, Address: address, User: user}, 0)
	if err != nil {
		return nil, err
	}
	select {
	case <-call.accepted:
		return newConn(c, call, network, address), nil
	case <-call.done:
		<-c.slots
		if call.err == nil {
			return nil, errEmpty
		}
		return nil, call.err
	case <-ctx.Done():
		c.abandon(call)
		return nil, ctx.Err()
	}
}

// WriteFile is that of host.Host, as are the others below.
func (c *Client) WriteFile(ctx context.Context, path string, content io.Reader, a host.Attributes) error {
	_, _, err := c.upload(ctx, request{Op: opWrite, Path: path, Attributes: a}, 0, content)
	return err
}

func (c *Client) Mkdir(ctx context.Context, path string, a host.Attributes) error {
	_, _, err := c.do(ctx, request{Op: opMkdir, Path: path, Attributes: a}, 0)
	return err
}

func (c *Client) Symlink(ctx context.Context, target, path string) error {
	_, _, err := c.do(ctx, request{Op: opSymlink, Target: target, Path: path}, 0)
	return err
}

func (c *Client) SetAttributes(ctx context.Context, path string, a host.Attributes) error {
	_, _, err := c.do(ctx, request{Op: opAttributes, Path: path, Attributes: a}, 0)
	return err
}

func (c *Client) Remove(ctx context.Context, path string, recursive bool) error {
	_, _, err := c.do(ctx, request{Op: opRemove, Path: path, Recursive: recursive}, 0)
	return err
}

func (c *Client) Run(ctx context.Context, cmd host.Command) (host.Output, error) {
	return c.command(ctx, opRun, cmd)
}

func (c *Client) command(ctx context.Context, op string, cmd host.Command) (host.Output, error) {
	req := request{Op: op, Command: &cmd, Stdin: len(cmd.Stdin) > 0}
	var r *reply
	var body []byte
	var err error
	if req.Stdin {
		r, body, err = c.upload(ctx, req, 2*host.MaxOutput, bytes.NewReader(cmd.Stdin))
	} else {
		r, body, err = c.do(ctx, req, 2*host.MaxOutput)
	}
	if err != nil {
		return host.Output{}, err
	}
	if r.Stdout < 0 || r.Stdout > len(body) {
		return host.Output{}, fmt.Errorf("%w: the agent's reply does not fit its body", ErrLost)
	}
	return host.Output{RC: r.RC, Stdout: string(body[:r.Stdout]), Stderr: string(body[r.Stdout:]), Dropped: r.Dropped}, nil
}
