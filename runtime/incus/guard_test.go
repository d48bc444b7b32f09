package incus

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/lxc/incus/v6/shared/api"

	"github.com/pgrun/pgrun/runtime/agent"
)

// TestReadOnly proves on a real daemon that nothing but looks and the read-only agent gets through.
func TestReadOnly(t *testing.T) {
	writer := connectTest(t, Remote{})
	name := testInstance(t, writer, true)
	s := connectTest(t, Remote{ReadOnly: true})
	ctx := t.Context()
	before, err := s.Instance(ctx, name)
	if err != nil {
		t.Fatal(err)
	}
	talk(t, s, name, true, "hello agent --read-only") // pushed, too
	if _, err := s.Transport(name).Open(ctx, false); err == nil || !strings.Contains(err.Error(), "read-only") {
		t.Errorf("an agent that can write: %v", err)
	}
	some := Settings{Config: map[string]string{"user.x": "y"}}
	_, imported := s.ImportImage(ctx, ImageFiles{Metadata: "guard.go"}, "itest")
	_, pulled := s.PullImage(ctx, "images:debian/13", "itest")
	for do, err := range map[string]error{
		"create":         s.CreateInstance(ctx, testSpec("itest-ro")),
		"update":         s.UpdateInstance(ctx, name, some),
		"stop":           s.Stop(ctx, name, true),
		"restart":        s.Restart(ctx, name, true),
		"freeze":         s.Freeze(ctx, name),
		"delete":         s.DeleteInstance(ctx, name, false),
		"exec":           s.WaitExec(short(t), name),
		"create profile": s.CreateProfile(ctx, "itest-ro", some),
		"update profile": s.UpdateProfile(ctx, "default", some),
		"delete profile": s.DeleteProfile(ctx, "itest-ro"),
		"create network": s.CreateNetwork(ctx, "itestro", "", some),
		"create pool":    s.CreateStoragePool(ctx, "itest-ro", "dir", some),
		"import":         imported,
		"pull":           pulled,
		"alias":          s.SetImageAlias(ctx, "itest-ro", before.Image),
	} {
		var refused *Refused
		if !errors.As(err, &refused) {
			t.Errorf("%s: %v", do, err)
		}
	}
	after, err := s.Instance(ctx, name)
	if err != nil || after.Status != "Running" || before.Differences(after.Settings) != nil {
		t.Errorf("the instance changed: %+v, %v", after, err)
	}
}

// TestGuard tries requests that look like the agent's.
func TestGuard(t *testing.T) {
	file := "agent-" + strings.Repeat("a", 64)
	changed := pushCommand(7, file)
	changed[2] += "\nreboot"
	tests := []struct {
		name, path string
		command    []string
		passes     bool
	}{
		{"start", "/1.0/instances/web/exec", agent.Argv("/run/pgrun/"+file, true), true},
		{"start elsewhere", "/1.0/instances/web/exec", agent.Argv("/var/lib/pgrun/"+file, true), true},
		{"push", "/1.0/instances/web/exec", pushCommand(7, file), true},
		{"a writing agent", "/1.0/instances/web/exec", agent.Argv("/run/pgrun/"+file, false), false},
		{"more arguments", "/1.0/instances/web/exec", append(agent.Argv("/run/pgrun/"+file, true), "--write"), false},
		{"another program", "/1.0/instances/web/exec", agent.Argv("/bin/agent", true), false},
		{"a path out", "/1.0/instances/web/exec", agent.Argv("/run/pgrun/../"+file, true), false},
		{"another script", "/1.0/instances/web/exec", changed, false},
		{"another target", "/1.0/instances/web/exec", pushCommand(7, "../../bin/"+file), false},
		{"a command", "/1.0/instances/web/exec", []string{"reboot"}, false},
		{"none", "/1.0/instances/web/exec", nil, false},
		{"another path", "/1.0/instances/web/state", agent.Argv("/run/pgrun/"+file, true), false},
		{"a path below", "/1.0/instances/web/x/exec", agent.Argv("/run/pgrun/"+file, true), false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := isAgentExec(execRequest(t, test.path, execPost(test.command))); got != test.passes {
				t.Errorf("passes: %v", got)
			}
		})
	}
	for name, change := range map[string]func(*api.InstanceExecPost){
		"an environment": func(e *api.InstanceExecPost) { e.Environment = map[string]string{"LD_PRELOAD": "/tmp/x"} },
		"a user":         func(e *api.InstanceExecPost) { e.User = 1000 },
		"a directory":    func(e *api.InstanceExecPost) { e.Cwd = "/tmp" },
		"a record":       func(e *api.InstanceExecPost) { e.RecordOutput = true },
		"a terminal":     func(e *api.InstanceExecPost) { e.Interactive = true },
		"no wait":        func(e *api.InstanceExecPost) { e.WaitForWS = false },
	} {
		t.Run(name, func(t *testing.T) {
			exec := execPost(agent.Argv("/run/pgrun/"+file, true))
			change(&exec)
			if isAgentExec(execRequest(t, "/1.0/instances/web/exec", exec)) {
				t.Error("it passes")
			}
		})
	}
}

func execRequest(t *testing.T, path string, exec api.InstanceExecPost) *http.Request {
	t.Helper()
	body, err := json.Marshal(exec)
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequest(http.MethodPost, "http://unix.socket"+path, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	return req
}
