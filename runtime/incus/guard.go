package incus

import (
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"regexp"
	"slices"
	"strconv"

	"github.com/lxc/incus/v6/shared/api"

	"github.com/pgrun/pgrun/runtime/agent"
)

// guard is the round tripper of every request. A read-only one lets only reads through, and those
// two commands by which the read-only agent is pushed and started, word for word.
//
// Websockets do not pass here. They read, or belong to a command that did.
type guard struct {
	inner    *http.Transport
	readOnly bool
}

// RoundTrip sends a request, or refuses it.
func (g *guard) RoundTrip(req *http.Request) (*http.Response, error) {
	if g.readOnly && req.Method != http.MethodGet && req.Method != http.MethodHead && !isAgentExec(req) {
		if req.Body != nil {
			_ = req.Body.Close()
		}
		return nil, &Refused{Request: req.Method + " " + req.URL.Path}
	}
	return g.inner.RoundTrip(req)
}

// Transport is what the client dials websockets with. It also sets a field there each time that it
// waits for an operation, with no lock: so it gets a copy.
func (g *guard) Transport() *http.Transport { return g.inner.Clone() }

// Refused is the error of a request that could change something on a read-only connection. It is a
// bug in whoever sent it.
type Refused struct{ Request string }

func (e *Refused) Error() string {
	return fmt.Sprintf("refused %s: the connection to Incus is read-only (a dry run must not get here: please report it)", e.Request)
}

// execPath matches the one path that commands are started at.
var execPath = regexp.MustCompile(`^/1\.0/instances/[^/]+/exec$`)

func isAgentExec(req *http.Request) bool {
	if req.Method != http.MethodPost || !execPath.MatchString(req.URL.EscapedPath()) || req.GetBody == nil {
		return false
	}
	body, err := req.GetBody()
	if err != nil {
		return false
	}
	defer body.Close()
	var exec api.InstanceExecPost
	if json.NewDecoder(body).Decode(&exec) != nil {
		return false
	}
	// Nothing beside the command: a program that runs in another environment is another one.
	plain := execPost(exec.Command)
	return reflect.DeepEqual(exec, plain) && (isStart(exec.Command) || isPush(exec.Command))
}

// isStart reports whether the command starts a read-only agent.
func isStart(words []string) bool {
	return len(words) > 0 && agentPath.MatchString(words[0]) && slices.Equal(words, agent.Argv(words[0], true))
}

// isPush reports whether the command pushes an agent.
func isPush(words []string) bool {
	if len(words) != 6 || !agentPath.MatchString(agentDirs[0]+"/"+words[5]) {
		return false
	}
	size, err := strconv.Atoi(words[4])
	return err == nil && slices.Equal(words, pushCommand(size, words[5]))
}
