package postgres

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"strings"
	"syscall"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgrun/pgrun/runtime/host"
)

// SQLSTATEs that are told apart, with the names that the manual's appendix A gives them.
const (
	invalidPassword           = "28P01"
	invalidAuthorization      = "28000"
	invalidCatalogName        = "3D000" // no such database
	invalidSchemaName         = "3F000"
	readOnlyTransaction       = "25006"
	insufficientPrivilege     = "42501"
	undefinedColumn           = "42703"
	undefinedFunction         = "42883"
	undefinedTable            = "42P01"
	undefinedObject           = "42704"
	protocolViolation         = "08P01"
	tooManyConnections        = "53300"
	adminShutdown             = "57P01"
	crashShutdown             = "57P02"
	cannotConnectNow          = "57P03"
	objectInUse               = "55006"
	dependentObjectsStillHere = "2BP01"

	// Of what others may want to try again.
	LockNotAvailable = "55P03"
	QueryCanceled    = "57014"
)

// Error is what a server answered, or why there was no answer, with what to do about it.
type Error struct {
	Message string
	Err     error // what pgx or the transport said
	missing bool
}

func (e *Error) Error() string { return e.Message }

// Unwrap gives the cause, and fs.ErrNotExist where something is not there, or not yet: a server that
// runs, a database, a role or its password, a table.
func (e *Error) Unwrap() []error {
	if e.missing {
		return []error{e.Err, fs.ErrNotExist}
	}
	return []error{e.Err}
}

// Code returns the SQLSTATE that the server gave err, or "".
func Code(err error) string {
	var answer *pgconn.PgError
	if errors.As(err, &answer) {
		return answer.Code
	}
	return ""
}

// Explain turns an error of a session's call into one that says what to do. Errors that are none of
// PostgreSQL's, and those explained before, stay as they are; nil is nil.
func Explain(err error) error {
	var (
		explained *Error
		answer    *pgconn.PgError
	)
	switch {
	case err == nil, errors.As(err, &explained), errors.Is(err, pgx.ErrNoRows):
		return err
	case errors.As(err, &answer):
		advice, missing := advise(answer.Code)
		return &Error{join(before(err, answer)+describe(answer), advice), err, missing}
	case errors.Is(err, context.DeadlineExceeded), pgconn.Timeout(err):
		return &Error{"the server did not finish in time: give timeout, or see in pg_stat_activity what it waits for", err, false}
	case errors.Is(err, context.Canceled):
		return err
	case lost(err):
		return &Error{"the connection to the server was lost; whether the statement that ran took effect is not known (" + err.Error() + ")", err, false}
	}
	return err
}

// ended is Explain for a call whose context may have ended: then the server's answer to our cancel
// request is not the cause.
func ended(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil && Code(err) == QueryCanceled {
		err = ctx.Err()
	}
	if err = Explain(err); context.Cause(ctx) == errLimit {
		err = unwritten(err)
	}
	return err
}

// unwritten takes context.DeadlineExceeded out of an error that came of a limit of ours: it must not pass for a
// deadline that the playbook wrote, which has an exit code of its own.
func unwritten(err error) error {
	if !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return &Error{err.Error(), errors.New(err.Error()), errors.Is(err, fs.ErrNotExist)}
}

// explain says why a connection was not made.
func (t Target) explain(config *pgx.ConnConfig, err error) error {
	var (
		answer      *pgconn.PgError
		unreachable *host.Unreachable
	)
	if errors.Is(err, host.ErrAbsent) || errors.As(err, &unreachable) || errors.Is(err, context.Canceled) {
		return inner(err)
	}
	to := "connecting to " + where(config) + ": "
	local := t.URI.Reveal() == ""
	switch {
	case otherServers(config) > 0:
		return &Error{to + said(err), err, host.Missing(err) || errors.Is(err, syscall.ECONNREFUSED)}
	case errors.As(err, &answer):
		advice, missing := advise(answer.Code)
		switch {
		case answer.Code == invalidAuthorization && local:
			advice = fmt.Sprintf("the role may not exist, or pg_hba.conf does not let the operating-system user %q in by peer", dialUser(t))
		case answer.Code == invalidPassword && local:
			advice = "pg_hba.conf asks for a password on the socket: add a line \"local all postgres peer\" above, or give uri"
		}
		return &Error{to + join(describe(answer), advice), err, missing}
	case local && (errors.Is(err, context.DeadlineExceeded) || pgconn.Timeout(err)):
		return &Error{to + fmt.Sprintf("no answer in time (%s at most): the server, or its machine, is busy, or hangs", config.ConnectTimeout), err, false}
	case errors.Is(err, context.DeadlineExceeded), pgconn.Timeout(err):
		return &Error{to + fmt.Sprintf("no answer within %s: is the address right, and does a firewall let it through?", config.ConnectTimeout), err, false}
	case errors.Is(err, fs.ErrNotExist):
		return &Error{to + said(err) + ": the server is not installed or not running, or has another port or unix_socket_directories", err, true}
	case errors.Is(err, syscall.ECONNREFUSED), strings.Contains(err.Error(), "connection refused"):
		return &Error{to + "connection refused: the server is not running, or does not listen there", err, true}
	}
	return &Error{to + said(err), err, false}
}

// advise says what to do about a SQLSTATE, and whether it means that something is not there (yet).
func advise(code string) (advice string, missing bool) {
	switch code {
	case invalidPassword:
		return "the role does not exist, or has another password", true
	case invalidAuthorization:
		return "the role does not exist, or pg_hba.conf has no line for it", true
	case invalidCatalogName:
		return "create it with sql.database, or name another", true
	case undefinedTable, undefinedFunction, undefinedObject, invalidSchemaName:
		return "", true
	case undefinedColumn:
		return "", true
	case cannotConnectNow:
		return "the server is starting, stopping or recovering: wait for it with wait_until", true
	case readOnlyTransaction:
		return "the server is a standby, or its sessions are read-only, or this is a look, which may not write: let sql.exec write, on the primary", false
	case insufficientPrivilege:
		return "connect as a superuser or as the owner", false
	case tooManyConnections:
		return "raise max_connections, or find in pg_stat_activity who holds them", false
	case protocolViolation:
		return "is this a connection pooler? connect to PostgreSQL itself", false
	case QueryCanceled:
		return "give timeout, or see in pg_stat_activity and pg_locks what it waited for", false
	case adminShutdown, crashShutdown:
		return "the connection was ended by the server; whether the statement that ran took effect is not known", false
	case objectInUse:
		return "end the sessions that use it first", false
	case dependentObjectsStillHere:
		return "drop or reassign what depends on it first", false
	}
	return "", false
}

// describe gives what the server said, its detail and hint included.
func describe(e *pgconn.PgError) string {
	s := e.Message
	if e.Detail != "" {
		s += "; " + strings.ReplaceAll(strings.TrimSuffix(e.Detail, "."), "\n", "; ")
	}
	if e.Hint != "" {
		s += " (hint: " + strings.TrimSuffix(e.Hint, ".") + ")"
	}
	return s + " [SQLSTATE " + e.Code + "]"
}

// before returns what was put before the server's own error on its way here.
func before(err error, answer *pgconn.PgError) string {
	s, found := strings.CutSuffix(err.Error(), answer.Error())
	if !found {
		return ""
	}
	return s
}

func join(what, advice string) string {
	if advice == "" {
		return what
	}
	return what + ": " + advice
}

// lost reports whether a connection broke, as opposed to an error of the program's.
func lost(err error) bool {
	var network *net.OpError
	for _, closed := range []error{pgconn.ErrConnClosed, io.EOF, io.ErrUnexpectedEOF, io.ErrClosedPipe, net.ErrClosed} {
		if errors.Is(err, closed) {
			return true
		}
	}
	return errors.As(err, &network)
}

func dialUser(t Target) string {
	if t.User != "" {
		return t.User
	}
	return DefaultUser
}

// inner is the transport's own error in what pgx made of it.
func inner(err error) error {
	var unreachable *host.Unreachable
	switch {
	case errors.As(err, &unreachable):
		return unreachable
	case errors.Is(err, host.ErrAbsent):
		return host.ErrAbsent
	}
	return err
}

// said is what pgx says, without its own account of where it connected to.
func said(err error) string {
	var connecting *pgconn.ConnectError
	if errors.As(err, &connecting) {
		err = connecting.Unwrap()
	}
	text := strings.ReplaceAll(strings.TrimSpace(err.Error()), "\n", "; ")
	if _, dialing, found := strings.Cut(text, ": dial error: "); found && !strings.Contains(text, "; ") {
		return dialing
	}
	return text
}
