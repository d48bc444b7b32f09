package container_test

import (
	"testing"

	"github.com/pgrun/pgrun/runtime/builtin/builtintest/container"
	"github.com/pgrun/pgrun/runtime/host"
)

func TestNew(t *testing.T) {
	c := container.New(t, "pgrun-test-container")
	if _, err := c.Reader.Stat(t.Context(), "/etc/passwd"); err != nil {
		t.Error(err)
	}
	if err := c.Host.Mkdir(t.Context(), "/srv/made", host.Attributes{}); err != nil {
		t.Error(err)
	}
	if _, isHost := c.Reader.(host.Host); isHost {
		t.Error("the Reader of a dry run can write")
	}
}
