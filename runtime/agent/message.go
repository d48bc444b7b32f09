package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"syscall"
	"unicode/utf8"

	"github.com/pgrun/pgrun/runtime/host"
)

// protocol is the version of the conversation. Both ends are built from one source, so that it
// differs only where an agent was put in place by hand.
const protocol = 1

// hello is the agent's first frame.
type hello struct {
	Protocol int  `json:"protocol"`
	ReadOnly bool `json:"read_only"`
}

// The operations.
const (
	opStat       = "stat"
	opRead       = "read"
	opReadDir    = "readdir"
	opHash       = "hash"
	opLook       = "look"
	opFacts      = "facts"
	opDial       = "dial"
	opWrite      = "write"
	opMkdir      = "mkdir"
	opSymlink    = "symlink"
	opAttributes = "attributes"
	opRemove     = "remove"
	opRun        = "run"
)

// request is the head of a call: an operation and those of its parameters that it has.
type request struct {
	Op         string          `json:"op"`
	Path       string          `json:"path,omitempty"`
	Target     string          `json:"target,omitempty"` // symlink
	Recursive  bool            `json:"recursive,omitempty"`
	Attributes host.Attributes `json:"attributes,omitzero"`
	Command    *host.Command   `json:"command,omitempty"`
	Stdin      bool            `json:"stdin,omitempty"` // the command's input follows as data
	Network    string          `json:"network,omitempty"`
	Address    string          `json:"address,omitempty"`
	User       string          `json:"user,omitempty"` // dial
}

func parseRequest(payload []byte) (request, error) {
	var r request
	if err := json.Unmarshal(payload, &r); err != nil {
		return request{}, fmt.Errorf("a request that is no JSON: %w", err)
	}
	return r, nil
}

// uploads reports whether data frames follow the request.
func (r request) uploads() bool {
	return r.Op == opWrite || r.Op == opDial || r.Stdin
}

// valid refuses what JSON would change on the way: strings that are not UTF-8.
func (r request) valid() error {
	type word struct{ what, value string }
	words := []word{
		{"the path", r.Path}, {"the target of the link", r.Target}, {"the address", r.Address}, {"the user", r.User},
		{"the owner", r.Attributes.Owner}, {"the group", r.Attributes.Group},
	}
	if c := r.Command; c != nil {
		words = append(words, word{"the user", c.User}, word{"the working directory", c.Dir})
		for i, argument := range c.Argv {
			words = append(words, word{fmt.Sprintf("argument %d of the command", i), argument})
		}
		for k, v := range c.Env {
			words = append(words, word{"the name of an environment variable", k}, word{"the environment variable " + k, v})
		}
	}
	for _, w := range words {
		if !utf8.ValidString(w.value) { // which may be secret, and quoted no mask would know it again
			return fmt.Errorf("%s: %s is not UTF-8", r.Op, strings.ToValidUTF8(w.what, "\ufffd"))
		}
	}
	return nil
}

// String is the request for messages: "stat /etc/hosts".
func (r request) String() string {
	switch {
	case r.Command != nil:
		return r.Op + " " + r.Command.String()
	case r.Op == opDial:
		return "dial " + r.Network + " " + r.Address
	case r.Path != "":
		return r.Op + " " + r.Path
	}
	return r.Op
}

// reply is the head of an answer.
type reply struct {
	Error *wireError  `json:"error,omitempty"`
	Info  *host.Info  `json:"info,omitempty"`
	Facts *host.Facts `json:"facts,omitempty"`
	Hash  string      `json:"hash,omitempty"`

	// Of a command. The body is its output, then its errors.
	RC      int   `json:"rc,omitempty"`
	Stdout  int   `json:"stdout,omitempty"` // bytes of the body that are output
	Dropped int64 `json:"dropped,omitempty"`
}

// maxErrorText bounds the text of an error on the wire.
const maxErrorText = 64 << 10

// cutShort ends the text of a longer one.
const cutShort = " ..."

// wireError is an error on its way: its text, and what errors.Is must still know about it.
type wireError struct {
	Text    string `json:"text"`
	Is      string `json:"is,omitempty"`
	Program string `json:"program,omitempty"` // of a *host.NotFound
}

// sentinels are the errors that keep their identity over the wire.
var sentinels = map[string]error{
	"not exist":  fs.ErrNotExist,
	"exist":      fs.ErrExist,
	"permission": fs.ErrPermission,
	"canceled":   context.Canceled,
	"refused":    ErrRefused,
	"no server":  syscall.ECONNREFUSED,
}

// ErrRefused is the error of what a read-only agent does not do, and of a look that is in no table.
var ErrRefused = errors.New("refused")

func toWire(err error) *wireError {
	w := &wireError{Text: err.Error()}
	if len(w.Text) > maxErrorText {
		w.Text = w.Text[:maxErrorText] + cutShort
	}
	w.Text = strings.ToValidUTF8(w.Text, "\ufffd")
	if notFound, ok := errors.AsType[*host.NotFound](err); ok {
		w.Program = notFound.Program
		return w
	}
	for name, sentinel := range sentinels {
		if errors.Is(err, sentinel) {
			w.Is = name
		}
	}
	return w
}

// fromWire is the inverse of toWire.
func fromWire(w *wireError) error {
	if w.Program != "" {
		return &host.NotFound{Program: w.Program}
	}
	return &remoteError{text: w.Text[:min(len(w.Text), maxErrorText+len(cutShort))], is: sentinels[w.Is]}
}

// remoteError is an error that an agent reported.
type remoteError struct {
	text string
	is   error // may be nil
}

func (e *remoteError) Error() string { return e.text }
func (e *remoteError) Unwrap() error { return e.is }
