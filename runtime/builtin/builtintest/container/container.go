// Package container gives tests a real machine: an Incus container that is made for the test and deleted
// after it.
//
//	c := container.New(t, "pgrun-test-apt")
//	b := builtintest.New(t, c.Machine, apt.Module())
//
// It is made of the image $PGRUN_TEST_IMAGE, or else of the lab's. With PGRUN_TEST_KEEP=1 it stays, and the
// next test that wants one of that name has it as it was left. Where Incus or the image is missing the test
// is skipped, or fails when CI is set.
package container

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"testing"
	"time"

	"github.com/pgrun/pgrun/runtime/builtin/builtintest"
	"github.com/pgrun/pgrun/runtime/host"
	"github.com/pgrun/pgrun/runtime/incus"
	"github.com/pgrun/pgrun/runtime/transport"
)

// What the lab makes: an image, and a profile that brings a disk and the lab's network.
const (
	labImage   = "pgrun/debian-13"
	labProfile = "pgrun-lab"
)

// Container is a running container, booted.
type Container struct {
	builtintest.Machine
	Name   string
	Server *incus.Server // one that can write
}

// New returns a container. It is the test's own unless another one asks for the same name.
func New(t testing.TB, name string) *Container {
	t.Helper()
	writing, reading := Connect(t)
	c := &Container{Name: name, Server: writing}
	c.launch(t)
	reader := transport.NewReader(name, reading.Transport(name))
	session := transport.NewSession(name, writing.Transport(name), false)
	t.Cleanup(func() { _, _ = reader.Close(), session.Close() })
	c.Machine = builtintest.Machine{
		Reader: lookingMachine{reader, owned{reading, name}},
		Host:   actingMachine{session, owned{writing, name}},
	}
	c.booted(t)
	return c
}

// Local returns this machine as the host localhost, which Incus runs on.
func Local(t testing.TB) builtintest.Machine {
	t.Helper()
	writing, reading := Connect(t)
	reader := transport.NewReader("localhost", transport.Local())
	session := transport.NewSession("localhost", transport.Local(), false)
	t.Cleanup(func() { _, _ = reader.Close(), session.Close() })
	return builtintest.Machine{
		Reader: lookingMachine{reader, owned{reading, ""}},
		Host:   actingMachine{session, owned{writing, ""}},
	}
}

// Connect connects to this machine's Incus twice, the second time to look only. Where there is none, the
// test is skipped.
func Connect(t testing.TB) (writing, reading *incus.Server) {
	t.Helper()
	var err error
	for _, x := range []struct {
		server   **incus.Server
		readOnly bool
	}{{&writing, false}, {&reading, true}} {
		if *x.server, err = incus.Connect(t.Context(), incus.Remote{ReadOnly: x.readOnly}); err != nil {
			without(t, err)
		}
		(*x.server).UseAgent(builtAgent)
		t.Cleanup((*x.server).Close)
	}
	if _, err := writing.Image(t.Context(), Image()); err != nil {
		without(t, fmt.Errorf("%w: `make lab` makes it, or set PGRUN_TEST_IMAGE to another", err))
	}
	return writing, reading
}

// Image is the alias of the image that containers are made of.
func Image() string {
	if image := os.Getenv("PGRUN_TEST_IMAGE"); image != "" {
		return image
	}
	return labImage
}

// Profiles are those of the containers: the lab's, or where there is none the default.
func Profiles(t testing.TB, s *incus.Server) []string {
	t.Helper()
	_, err := s.Profile(t.Context(), labProfile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	return []string{labProfile}
}

// without ends a test that cannot have its container.
func without(t testing.TB, err error) {
	t.Helper()
	if os.Getenv("CI") != "" {
		t.Fatalf("no container: %v", err)
	}
	t.Skipf("no container: %v", err)
}

func (c *Container) launch(t testing.TB) {
	t.Helper()
	keep := os.Getenv("PGRUN_TEST_KEEP") != ""
	_, err := c.Server.Instance(t.Context(), c.Name)
	if err == nil && !keep {
		// Left behind by a test that was killed.
		err = c.Server.DeleteInstance(t.Context(), c.Name, true)
		if err == nil {
			err = host.ErrAbsent
		}
	}
	switch {
	case errors.Is(err, host.ErrAbsent):
		err = c.Server.CreateInstance(t.Context(), incus.InstanceSpec{
			Name: c.Name, Image: Image(), Start: true,
			Settings: incus.Settings{Config: map[string]string{"user.pgrun.test": "true"}, Profiles: Profiles(t, c.Server)},
		})
	case err == nil:
		err = c.Server.Start(t.Context(), c.Name)
	}
	if err != nil {
		t.Fatal(err)
	}
	if keep {
		return
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := c.Server.DeleteInstance(ctx, c.Name, true); err != nil {
			t.Error(err)
		}
	})
}

// booted waits until the container's services have started, and with them its network.
func (c *Container) booted(t testing.TB) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	// Its first process is there at once, or has ended: for want of inotify instances, mostly, where many
	// containers run.
	soon, cancelSoon := context.WithTimeout(ctx, 15*time.Second)
	defer cancelSoon()
	if err := c.Server.WaitExec(soon, c.Name); err != nil {
		t.Fatalf("%s does not boot (raise fs.inotify.max_user_instances?): %v", c.Name, err)
	}
	for {
		// Until PID 1 listens there is nobody to ask. A failed unit (1, "degraded") is nothing to wait for.
		out, err := c.Host.Run(ctx, host.Command{Argv: []string{"systemctl", "is-system-running", "--wait"}})
		if err == nil && (out.RC == 0 || out.Stdout == "degraded\n") {
			break
		}
		if ctx.Err() != nil {
			t.Fatalf("%s does not boot: %v %s%s", c.Name, err, out.Stdout, out.Stderr)
		}
		time.Sleep(50 * time.Millisecond)
	}
	if _, err := c.Server.WaitAddress(ctx, c.Name, "", "inet"); err != nil {
		t.Fatal(err)
	}
}

// owned makes a machine one of Incus's.
type owned struct {
	server *incus.Server
	name   string
}

var _ incus.Owned = owned{}

func (o owned) Incus(context.Context) (*incus.Server, error) { return o.server, nil }
func (o owned) Instance() string                             { return o.name }

type lookingMachine struct {
	*transport.Reader
	owned
}

type actingMachine struct {
	*transport.Session
	owned
}
