// Package postgrestest runs a real PostgreSQL server for tests: one of the machine's installed versions,
// in a directory of its own, on a Unix socket there and on a free port of 127.0.0.1. It logs every
// statement, so that a test can look for what must not be in a log.
package postgrestest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pgrun/pgrun/runtime/host"
)

// Server is a running server. Its superuser postgres logs in through the socket by peer
// authentication, all other roles by password.
type Server struct {
	Dir  string // holds the socket
	Port int

	// Host is a host.Host that reaches the server, and can do nothing else.
	Host Dialer

	process    *exec.Cmd
	exited     chan struct{}
	credential *syscall.Credential // of the server's processes; nil for the test's own
	bin        string
}

// Main runs a package's tests with a server, for use as TestMain:
//
//	var server postgrestest.Server
//
//	func TestMain(m *testing.M) { postgrestest.Main(m, &server) }
func Main(m *testing.M, s *Server) {
	err := s.start()
	if err != nil && !errors.Is(err, errNone) {
		s.Stop()
		fmt.Fprintln(os.Stderr, "starting PostgreSQL for the tests:", err)
		os.Exit(1)
	}
	code := m.Run()
	s.Stop()
	os.Exit(code)
}

// Need skips t where no PostgreSQL is installed; where CI is set, that fails it.
func (s *Server) Need(t testing.TB) {
	t.Helper()
	switch {
	case s.process != nil:
	case os.Getenv("CI") != "":
		t.Fatal(errNone)
	default:
		t.Skip(errNone)
	}
}

var errNone = errors.New("no PostgreSQL server is installed: apt-get install postgresql")

func (s *Server) start() error {
	installed, _ := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if len(installed) == 0 {
		return errNone
	}
	slices.SortFunc(installed, func(a, b string) int { return versionOf(a) - versionOf(b) })
	s.bin = filepath.Dir(installed[len(installed)-1])
	return s.make()
}

func versionOf(initdb string) int {
	n, _ := strconv.Atoi(strings.Split(initdb, "/")[4]) // not a number: the oldest
	return n
}

func (s *Server) make() error {
	me, err := user.Current()
	if err != nil {
		return err
	}
	if os.Getuid() == 0 { // PostgreSQL refuses to run as root
		owner, err := user.Lookup("postgres")
		if err != nil {
			return err
		}
		uid, _ := strconv.Atoi(owner.Uid)
		gid, _ := strconv.Atoi(owner.Gid)
		s.credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	}
	if s.Dir, err = os.MkdirTemp("", "pg"); err != nil { // short: a socket's path has 107 bytes at most
		return err
	}
	if s.credential != nil {
		if err := os.Chown(s.Dir, int(s.credential.Uid), int(s.credential.Gid)); err != nil {
			return err
		}
	}
	data := filepath.Join(s.Dir, "data")
	initdb := s.command("initdb", "-D", data, "-U", "postgres", "--auth-local=peer", "--auth-host=reject",
		"--no-sync", "--encoding=UTF8", "--locale=C.UTF-8")
	if out, err := initdb.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w\n%s", err, out)
	}
	files := map[string]string{
		"pg_hba.conf":   "local all postgres peer map=test\nlocal all all scram-sha-256\nhost all all 127.0.0.1/32 scram-sha-256\nlocal replication postgres peer map=test\n",
		"pg_ident.conf": fmt.Sprintf("test %s postgres\ntest postgres postgres\n", me.Username),
	}
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(data, name), []byte(content), 0o644); err != nil {
			return err
		}
	}
	return s.Restart()
}

// Standby makes a server that follows s by streaming.
func (s *Server) Standby(t testing.TB) *Server {
	t.Helper()
	standby := &Server{bin: s.bin, credential: s.credential}
	t.Cleanup(standby.Stop)
	var err error
	if standby.Dir, err = os.MkdirTemp("", "pg"); err != nil {
		t.Fatal(err)
	}
	if s.credential != nil {
		if err := os.Chown(standby.Dir, int(s.credential.Uid), int(s.credential.Gid)); err != nil {
			t.Fatal(err)
		}
	}
	out, err := s.command("pg_basebackup", "-D", filepath.Join(standby.Dir, "data"), "-h", s.Dir, "-p", strconv.Itoa(s.Port),
		"-U", "postgres", "-R", "--checkpoint=fast", "--no-sync").CombinedOutput()
	if err != nil {
		t.Fatalf("pg_basebackup: %v\n%s", err, out)
	}
	if err := standby.Restart(); err != nil {
		t.Fatal(err)
	}
	return standby
}

// Restart stops the server where it runs, starts it, and waits until it takes connections.
func (s *Server) Restart() error {
	s.halt()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	if s.Port == 0 {
		s.Port = listener.Addr().(*net.TCPAddr).Port
	}
	_ = listener.Close()
	log, err := os.OpenFile(s.logPath(), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }() // the server has it, too
	settings := []string{
		"unix_socket_directories=" + s.Dir, "listen_addresses=127.0.0.1", "port=" + strconv.Itoa(s.Port),
		"fsync=off", "log_statement=all", "log_min_duration_statement=0", "log_parameter_max_length_on_error=-1",
	}
	args := []string{"-D", filepath.Join(s.Dir, "data")}
	for _, setting := range settings {
		args = append(args, "-c", setting)
	}
	s.process = s.command("postgres", args...)
	s.process.Stderr = log
	if err := s.process.Start(); err != nil {
		return err
	}
	s.exited = make(chan struct{})
	go func(p *exec.Cmd, exited chan struct{}) { _ = p.Wait(); close(exited) }(s.process, s.exited)
	return s.wait()
}

// wait polls until the server takes connections.
func (s *Server) wait() error {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	for ctx.Err() == nil {
		if s.command("pg_isready", "-q", "-h", s.Dir, "-p", strconv.Itoa(s.Port)).Run() == nil {
			return nil
		}
		select {
		case <-s.exited:
			return fmt.Errorf("the server ended:\n%s", s.Log())
		case <-time.After(20 * time.Millisecond):
		}
	}
	return fmt.Errorf("the server takes no connections:\n%s", s.Log())
}

// Stop ends the server and removes its directory.
func (s *Server) Stop() {
	s.halt()
	if s.Dir != "" {
		_ = os.RemoveAll(s.Dir)
	}
}

func (s *Server) halt() {
	if s.process == nil || s.process.Process == nil {
		return
	}
	_ = s.process.Process.Signal(syscall.SIGINT) // a fast shutdown
	select {
	case <-s.exited:
	case <-time.After(20 * time.Second):
		_ = s.process.Process.Signal(syscall.SIGQUIT) // an immediate one
		<-s.exited
	}
}

// Log is what the server has logged.
func (s *Server) Log() string {
	content, _ := os.ReadFile(s.logPath())
	return string(content)
}

func (s *Server) logPath() string { return filepath.Join(s.Dir, "log") }

// Psql runs statements with psql, the client that is not ours, and returns what it prints, unaligned.
func (s *Server) Psql(t testing.TB, statements string) string {
	t.Helper()
	out, err := s.PsqlAs("postgres", "", statements)
	if err != nil {
		t.Fatalf("psql: %v\n%s\n%s", err, statements, out)
	}
	return out
}

// PsqlAs runs statements as a role with a password.
func (s *Server) PsqlAs(role, password, statements string) (string, error) {
	c := s.command("psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-h", s.Dir, "-p", strconv.Itoa(s.Port), "-U", role, "-d", "postgres", "-f", "-")
	c.Stdin = strings.NewReader(statements)
	c.Env = append(c.Env, "PGPASSWORD="+password, "PGOPTIONS=-c client_min_messages=warning")
	out, err := c.CombinedOutput()
	return string(bytes.TrimRight(out, "\n")), err
}

func (s *Server) command(program string, args ...string) *exec.Cmd {
	c := exec.Command(filepath.Join(s.bin, program), args...)
	c.Dir = s.Dir
	c.Env = []string{"PATH=/usr/bin:/bin", "LC_ALL=C.UTF-8", "HOME=/nonexistent"}
	c.SysProcAttr = &syscall.SysProcAttr{Credential: s.credential}
	return c
}

// Dialer is a host of which only connecting works.
type Dialer struct {
	host.Host // none: its methods panic
}

// Name is the host's name.
func (d Dialer) Name() string { return "db" }

// Dial connects as the test's own user, whom the server takes for postgres.
func (d Dialer) Dial(ctx context.Context, network, address, _ string) (net.Conn, error) {
	var dialer net.Dialer
	return dialer.DialContext(ctx, network, address)
}
