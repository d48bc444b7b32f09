package incus

import (
	"context"
	"errors"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/pgrun/pgrun/runtime/agent/bin"
	"github.com/pgrun/pgrun/runtime/host"
)

// What the test instances are made of: the lab's image, and its profile, which brings a disk and a network.
const (
	testImage   = "pgrun/debian-13"
	testProfile = "pgrun-lab"
)

// testSpec describes a test instance.
func testSpec(name string) InstanceSpec {
	return InstanceSpec{Name: name, Image: testImage, Settings: Settings{Profiles: []string{testProfile}}}
}

// connectTest connects to this machine's daemon, or skips the test where there is none.
func connectTest(t testing.TB, r Remote) *Server {
	t.Helper()
	s, err := Connect(t.Context(), r)
	if err == nil {
		_, err = s.Image(t.Context(), testImage)
	}
	if err != nil && os.Getenv("CI") != "true" {
		t.Skipf("needs Incus with the image %s: %v", testImage, err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	s.agent = echoAgent
	return s
}

// echoAgent stands in for the agent: it speaks first, and then repeats what it hears.
func echoAgent(string) (bin.Agent, error) {
	script := []byte("#!/bin/sh\nprintf 'hello %s\\n' \"$*\"\nexec cat\n")
	return bin.Of(script), nil
}

// instance creates an instance for a test, which deletes it.
func testInstance(t testing.TB, s *Server, start bool) string {
	t.Helper()
	name := fmt.Sprintf("itest-%d-%x", os.Getpid(), time.Now().UnixNano()&0xffffff)
	t.Cleanup(func() {
		if err := s.DeleteInstance(context.WithoutCancel(t.Context()), name, true); err != nil {
			t.Error(err)
		}
	})
	spec := testSpec(name)
	spec.Start = start
	spec.Config = map[string]string{"limits.memory": "256MiB", "limits.processes": "200"}
	if err := s.CreateInstance(t.Context(), spec); err != nil {
		t.Fatal(err)
	}
	return name
}

// until waits for a condition.
func until(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("never: " + what)
		}
	}
}

func isUnreachable(err error) (*host.Unreachable, bool) {
	var u *host.Unreachable
	return u, errors.As(err, &u)
}

// short is a context for what must fail at once.
func short(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	t.Cleanup(cancel)
	return ctx
}
