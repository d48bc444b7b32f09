package incus

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"

	"github.com/lxc/incus/v6/shared/api"

	"github.com/pgrun/pgrun/runtime/host"
)

// Error is what the daemon answered to a request, and what to do about it.
type Error struct {
	Doing  string // "create instance \"web\""
	Says   string // the daemon's words
	Status int    // of HTTP; 0 for the error of an operation, which has none
	Advice string // may be empty
}

func (e *Error) Error() string {
	if e.Advice == "" {
		return e.Doing + ": " + e.Says
	}
	return fmt.Sprintf("%s: %s: %s", e.Doing, e.Says, e.Advice)
}

// Is makes a 404 count as fs.ErrNotExist, and the creation of an instance whose name is taken as fs.ErrExist.
func (e *Error) Is(target error) bool {
	switch target {
	case fs.ErrNotExist:
		return e.Status == http.StatusNotFound
	case fs.ErrExist:
		return strings.Contains(e.Says, recordBusy) || strings.Contains(e.Says, nameTaken)
	}
	return false
}

// The daemon's words for an instance that cannot be created, for it is there, or will be soon: another creation is at its "create", or at its "start".
const (
	recordBusy = "Failed creating instance record: Instance is busy running"
	nameTaken  = "UNIQUE constraint failed: instances"
)

// advices are what to do about errors of the daemon that people meet. The errors of operations are
// bare strings, so that their words are all there is to know them by.
var advices = []struct{ says, do string }{
	{"Image not provided for instance creation", "no such image: incus image list shows those that are there"},
	{"Requested profile", "make it with incus.profile first"},
	{"Network not found", "make it with incus.network first, or see incus network list"},
	{"Storage pool not found", "make it with incus.storage_pool first, or see incus storage list"},
	{"No root device could be found", "give the instance a profile with a root disk, or a device of that kind"},
	{nameTaken, "an instance of that name exists already"},
	{"Unknown configuration key", "the keys are listed in Incus's documentation, under instance options"},
	{"Failed parsing stream", "the image server cannot be reached from the Incus host: import the image from files instead"},
	{"Failed getting remote image info", "no such image on that server, or the server cannot be reached: incus image list REMOTE: shows its images"},
	{"Target only allowed when clustered", "leave the target out: this daemon is not in a cluster"},
	{"Failed shutting down instance", "it did not stop in time: stop it with force, or give it longer"},
	{"is currently in use", "what uses it must go first"},
	{"Instance is busy running", "something else works on it: wait until that is done"},
	{"A matching non-reusable operation", "something else works on it: wait until that is done"},
	{"Instance is running", "stop it first, or delete it with force"},
	{"Project not found", "incus project create makes it"},
	{"ETag doesn't match", "somebody else keeps changing it: try again"},
	{"no space left on device", "the storage pool is full"},
}

// explain makes a clear error of err, which came of doing something: a *host.Unreachable with
// NoDaemon where the daemon was not reached, else an *Error with the daemon's words.
func (s *Server) explain(ctx context.Context, doing string, err error) error {
	var dial *net.OpError
	var refused *Refused
	var known *Error
	var unreachable *host.Unreachable
	switch {
	case err == nil:
		return nil
	case errors.As(err, &refused):
		return fmt.Errorf("%s: %w", doing, refused)
	case errors.As(err, &known), errors.As(err, &unreachable), errors.Is(err, host.ErrAbsent):
		return err
	case context.Cause(ctx) != nil:
		return fmt.Errorf("%s on %s: %w", doing, s, context.Cause(ctx))
	case errors.As(err, &dial), gone(err):
		return &host.Unreachable{Host: s.String(), NoDaemon: true, Err: s.dialAdvice(err)}
	}
	e := &Error{Doing: doing, Says: err.Error()}
	e.Status, _ = api.StatusErrorMatch(err)
	switch e.Status {
	case http.StatusForbidden, http.StatusUnauthorized:
		return &host.Unreachable{Host: s.String(), NoDaemon: true, Err: fmt.Errorf("%s: not allowed (%w): the daemon must trust this user or client certificate for project %q",
			doing, err, s.projectName())}
	}
	for _, a := range advices {
		if strings.Contains(e.Says, a.says) {
			e.Advice = a.do
			break
		}
	}
	return e
}

// gone reports whether the daemon cannot be connected to, or the link to it broke in the middle.
func gone(err error) bool {
	return errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) ||
		errors.Is(err, io.ErrUnexpectedEOF) || strings.HasSuffix(err.Error(), ": EOF") ||
		strings.Contains(err.Error(), "Unable to connect to:") // the client's own words for a failed TCP dial
}

// dialAdvice says what to do about a daemon that cannot be reached. It does not wrap err: a missing
// socket would count as fs.ErrNotExist, and so as something that a dry run may expect to be made.
func (s *Server) dialAdvice(err error) error {
	if s.name != "local" {
		return fmt.Errorf("%v: see incus remote list for its address, and whether the daemon listens (core.https_address)", err)
	}
	info, _ := s.base.GetConnectionInfo()
	path := info.SocketPath
	switch {
	case errors.Is(err, os.ErrPermission):
		return fmt.Errorf("no access to %s: join the incus-admin group and log in again, or run as root", path)
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("no Incus daemon at %s: install and start Incus (make lab does), or set INCUS_SOCKET", path)
	case errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("the Incus daemon at %s is not running: start it (make lab does), or set INCUS_SOCKET", path)
	}
	return fmt.Errorf("the Incus daemon at %s went away: %v", path, err)
}

// noDaemon reports whether err says that the daemon was not reached.
func noDaemon(err error) bool {
	var u *host.Unreachable
	return errors.As(err, &u) && u.NoDaemon
}
