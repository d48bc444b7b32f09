package agent

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/pgrun/pgrun/runtime/host"
)

func sh(script string) host.Command { return host.Command{Argv: []string{"sh", "-c", script}} }

func TestRun(t *testing.T) {
	c, dir, ctx := inProcess(t, Options{RunDir: t.TempDir()}), t.TempDir(), t.Context()
	for name, k := range map[string]struct {
		c      host.Command
		rc     int
		stdout string
		stderr string
	}{
		"both outputs":    {sh("echo out; echo err >&2; exit 3"), 3, "out\n", "err\n"},
		"a signal":        {sh("kill -9 $$"), 137, "", ""},
		"no input":        {sh("cat"), 0, "", ""},
		"input":           {host.Command{Argv: []string{"cat"}, Stdin: []byte("in")}, 0, "in", ""},
		"input unread":    {host.Command{Argv: []string{"true"}, Stdin: bytes.Repeat([]byte("x"), 4<<20)}, 0, "", ""},
		"much input":      {host.Command{Argv: []string{"wc", "-c"}, Stdin: bytes.Repeat([]byte("x"), 8<<20)}, 0, "8388608\n", ""},
		"directory":       {host.Command{Argv: []string{"pwd"}, Dir: dir}, 0, dir + "\n", ""},
		"environment":     {host.Command{Argv: []string{"sh", "-c", "echo $LANG $A $TERM; echo $PATH"}, Env: map[string]string{"A": "b c"}}, 0, "C.UTF-8 b c\n" + defaultPath + "\n", ""},
		"own environment": {host.Command{Argv: []string{"sh", "-c", "echo $HOME"}, Env: map[string]string{"HOME": "/x"}}, 0, "/x\n", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			out, err := c.Run(ctx, k.c)
			if err != nil || out.RC != k.rc || out.Stdout != k.stdout || out.Stderr != k.stderr || out.Dropped != 0 {
				t.Errorf("%+v, %v", out, err)
			}
		})
	}
}

func TestRunAsUser(t *testing.T) {
	needRoot(t)
	c, ctx := inProcess(t, Options{RunDir: t.TempDir()}), t.Context()
	out, err := c.Run(ctx, host.Command{Argv: []string{"sh", "-c", `id -un; id -gn; echo "$HOME $USER $LOGNAME $SHELL"; grep Groups: /proc/self/status`}, User: "daemon"})
	if err != nil {
		t.Fatal(err)
	}
	if want := "daemon\ndaemon\n/usr/sbin daemon daemon /usr/sbin/nologin\nGroups:\t1 \n"; out.Stdout != want {
		t.Errorf("%q, want %q", out.Stdout, want)
	}
	_, err = c.Run(ctx, host.Command{Argv: []string{"true"}, User: "no-such-user"})
	if !errors.Is(err, fs.ErrNotExist) || !host.Missing(err) || !strings.Contains(err.Error(), `no user "no-such-user"`) {
		t.Errorf("%v", err)
	}
}

func TestRunThatDoesNotStart(t *testing.T) {
	c, dir, ctx := inProcess(t, Options{}), t.TempDir(), t.Context()
	_, err := c.Run(ctx, host.Command{Argv: []string{"no-such-program"}})
	if missing, ok := errors.AsType[*host.NotFound](err); !ok || missing.Program != "no-such-program" {
		t.Errorf("%v", err)
	}
	_, err = c.Run(ctx, host.Command{Argv: []string{"true"}, Dir: "/no/such/dir"})
	if !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "/no/such/dir") {
		t.Errorf("%v", err)
	}
	if _, err = c.Run(ctx, host.Command{}); err == nil {
		t.Error("an empty command ran")
	}
	for what, c2 := range map[string]host.Command{
		"argument 1":               {Argv: []string{"echo", "s3cret\xff"}},
		"the environment variable": {Argv: []string{"echo"}, Env: map[string]string{"PASSWORD": "s3cret\xff"}},
	} {
		if _, err = c.Run(ctx, c2); err == nil || !strings.Contains(err.Error(), what) || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("what JSON would change on its way: %v", err)
		}
	}
	for content, why := range map[string]string{
		"#!/no/such/interpreter\n": "interpreter",
		"no script":                "#!",
	} {
		file := filepath.Join(dir, why[1:])
		if err := os.WriteFile(file, []byte(content), 0o700); err != nil {
			t.Fatal(err)
		}
		if _, err = c.Run(ctx, host.Command{Argv: []string{file}}); err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("%q: %v", content, err)
		}
	}
}

func TestOutputWithoutEnd(t *testing.T) {
	if testing.Short() {
		t.Skip("a gigabyte takes seconds")
	}
	c := inProcess(t, Options{RunDir: t.TempDir()})
	out, err := c.Run(t.Context(), sh("echo first; head -c 1000000000 /dev/zero; echo last; echo err >&2"))
	if err != nil {
		t.Fatal(err)
	}
	if len(out.Stdout) != host.MaxOutput || out.Dropped != 1_000_000_011-host.MaxOutput ||
		!strings.HasPrefix(out.Stdout, "first\n\x00") || !strings.HasSuffix(out.Stdout, "\x00last\n") || out.Stderr != "err\n" {
		t.Errorf("%d bytes, %d dropped, %q", len(out.Stdout), out.Dropped, out.Stderr)
	}
}

func TestOutputKeepsHeadAndTail(t *testing.T) {
	for _, pieces := range [][]int{{5}, {10}, {11}, {3, 9, 2}, {100}, {4, 1, 1, 1, 1, 1, 1, 1, 1, 1}, {7, 50, 1}} {
		o, all := &output{size: 10}, ""
		for _, n := range pieces {
			p := ""
			for range n {
				p += string(rune('a' + len(all+p)%26))
			}
			all += p
			if k, err := o.Write([]byte(p)); k != n || err != nil {
				t.Fatal(k, err)
			}
		}
		want, dropped := all, 0
		if len(all) > 10 {
			want, dropped = all[:5]+all[len(all)-5:], len(all)-10
		}
		if got := string(o.bytes()); got != want || o.dropped != int64(dropped) {
			t.Errorf("%v: %q, %d dropped; want %q, %d", pieces, got, o.dropped, want, dropped)
		}
	}
}

func TestGrandchildThatHoldsThePipe(t *testing.T) {
	c := inProcess(t, Options{RunDir: t.TempDir()})
	began := time.Now()
	out, err := c.Run(t.Context(), sh("sleep 100 & echo $!"))
	if err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("it took %s", took)
	}
	pid, _ := strconv.Atoi(strings.TrimSpace(out.Stdout))
	if !alive(pid) {
		t.Errorf("what a command leaves behind on purpose is gone: %+v", out)
	}
	_ = syscall.Kill(pid, syscall.SIGKILL)
}

// family is a command that starts a child and writes both numbers to a file.
func family(file, prefix string) host.Command {
	return sh(prefix + "sleep 300 & echo $$ $! > " + file + ".new; mv " + file + ".new " + file + "; wait")
}

// members waits for a family and returns its numbers.
func members(t *testing.T, file string) []int {
	t.Helper()
	var pids []int
	eventually(t, "the command runs", func() bool {
		content, err := os.ReadFile(file)
		for _, f := range strings.Fields(string(content)) {
			pid, _ := strconv.Atoi(f)
			pids = append(pids, pid)
		}
		return err == nil
	})
	if len(pids) != 2 || !alive(pids[0]) || !alive(pids[1]) {
		t.Fatalf("%v do not both run", pids)
	}
	return pids
}

func gone(t *testing.T, pids []int) {
	t.Helper()
	for _, pid := range pids {
		eventually(t, "process "+strconv.Itoa(pid)+" is gone", func() bool { return !alive(pid) })
	}
}

func TestCancelEndsTheGroup(t *testing.T) {
	for name, prefix := range map[string]string{"willing": "", "unwilling": "trap '' TERM; "} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, file := inProcess(t, Options{RunDir: t.TempDir()}), filepath.Join(t.TempDir(), "pids")
			ctx, cancel := context.WithCancel(t.Context())
			var pids []int
			var cancelled time.Time
			go func() {
				defer cancel()
				pids = members(t, file)
				cancelled = time.Now()
			}()
			if _, err := c.Run(ctx, family(file, prefix)); !errors.Is(err, context.Canceled) {
				t.Errorf("%v", err)
			}
			if took := time.Since(cancelled); prefix == "" && took > grace {
				t.Errorf("the call returned %s after its context", took)
			}
			for _, pid := range pids { // what comes next may need what they hold
				if alive(pid) {
					t.Errorf("process %d runs on", pid)
				}
			}
		})
	}
}

// A child may need longer than its parent, such as a server that a script has started.
func TestCancelLeavesChildrenTheGrace(t *testing.T) {
	c, dir := inProcess(t, Options{}), t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	child := "trap 'sleep 0.2; touch " + dir + "/ended; exit' TERM; touch " + dir + "/ready; while :; do sleep 0.02; done"
	go func() {
		defer cancel()
		eventually(t, "the child runs", func() bool { return exists(dir + "/ready") })
	}()
	parent := host.Command{Argv: []string{"sh", "-c", "sh -c \"$1\" & wait", "parent", child}}
	if _, err := c.Run(ctx, parent); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	if !exists(dir + "/ended") {
		t.Error("the child was killed as soon as its parent had ended")
	}
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// A command that has ended may have left a process behind that holds its output: the call waits for that, and can
// be cancelled still.
func TestCancelEndsWhatHoldsThePipe(t *testing.T) {
	s := &server{forks: make(chan func()), over: make(chan struct{})}
	defer close(s.over)
	file := filepath.Join(t.TempDir(), "pid")
	cmd, err := s.command(sh("sleep 300 & echo $! > "+file), defaultPath)
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout, cmd.WaitDelay = &output{size: 10}, time.Minute
	if _, err := s.start(cmd); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	waited := make(chan error, 1)
	go func() { waited <- s.wait(ctx, cmd) }()
	eventually(t, "the command has ended", func() bool { return startTime(cmd.Process.Pid) == "" })
	cancel()
	if err := <-waited; !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	content, _ := os.ReadFile(file)
	if pid, _ := strconv.Atoi(strings.TrimSpace(string(content))); pid == 0 || alive(pid) {
		t.Errorf("process %d runs on", pid)
	}
}

// Credit for input that a command did not want must not come after its reply: the client would break the link.
func TestNoCreditAfterTheReply(t *testing.T) {
	s := &server{forks: make(chan func()), over: make(chan struct{})}
	defer close(s.over)
	file := filepath.Join(t.TempDir(), "pid")
	var granted atomic.Bool
	c := &serverCall{in: newInbox(func(int) {
		eventually(t, "the command has ended", func() bool {
			content, _ := os.ReadFile(file)
			pid, _ := strconv.Atoi(strings.TrimSpace(string(content)))
			return pid > 0 && startTime(pid) == ""
		})
		granted.Store(true)
	})}
	if err := c.in.put(make([]byte, window/2)); err != nil {
		t.Fatal(err)
	}
	command := sh("head -c 196608 > /dev/null; echo $$ > " + file) // the rest is what credit is granted for
	_, err := s.run(t.Context(), c, request{Op: opRun, Command: &command, Stdin: true}, func([]byte) error { return nil })
	if err != nil || !granted.Load() {
		t.Errorf("the reply is ready, the credit was granted: %v; %v", granted.Load(), err)
	}
}

func TestEndOfInputEndsTheAgent(t *testing.T) {
	runDir, dir := t.TempDir(), t.TempDir()
	p, file := ownProcess(t, runDir), filepath.Join(dir, "pids")
	failed := make(chan error)
	go func() {
		_, err := p.Run(t.Context(), family(file, ""))
		failed <- err
	}()
	pids := members(t, file)
	halfWritten(t, p.Client, dir)
	_ = p.Close()
	if err := <-failed; !errors.Is(err, ErrLost) {
		t.Errorf("%v", err)
	}
	<-p.exited
	if !p.cmd.ProcessState.Success() {
		t.Errorf("%v: %s", p.cmd.ProcessState, p.stderr)
	}
	gone(t, pids)
	noTemp(t, dir)
	if left, _ := filepath.Glob(filepath.Join(runDir, "*")); len(left) > 0 {
		t.Errorf("%v are left", left)
	}
}

// halfWritten begins to write a file that never ends, and returns when its temporary file is there.
func halfWritten(t *testing.T, c *Client, dir string) {
	t.Helper()
	go func() { _ = c.WriteFile(t.Context(), filepath.Join(dir, "file"), endless{}, host.Attributes{}) }()
	eventually(t, "the temporary file is there", func() bool {
		names, _ := filepath.Glob(filepath.Join(dir, tempPrefix+"*"))
		return len(names) == 1
	})
}

// endless is content that begins and does not go on.
type endless struct{}

func (endless) Read(p []byte) (int, error) {
	time.Sleep(50 * time.Millisecond)
	return copy(p, "x"), nil
}

func TestKilledAgentIsSweptUp(t *testing.T) {
	runDir, dir := t.TempDir(), t.TempDir()
	dead, file := ownProcess(t, runDir), filepath.Join(dir, "pids")
	living, other := ownProcess(t, runDir), filepath.Join(dir, "other")
	looking, looked := family(filepath.Join(dir, "look"), ""), filepath.Join(dir, "look")
	looking.Reads = true
	go func() { _, _ = dead.Run(t.Context(), family(file, "")) }()
	go func() { _, _ = dead.Look(t.Context(), looking) }()
	go func() { _, _ = living.Run(t.Context(), family(other, "")) }()
	pids, others := append(members(t, file), members(t, looked)...), members(t, other)
	halfWritten(t, dead.Client, dir)

	if err := dead.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-dead.exited
	if !alive(pids[1]) {
		t.Fatal("the grandchild ended by itself; this test shows nothing")
	}
	ownProcess(t, runDir)
	gone(t, pids)
	noTemp(t, dir)
	for _, pid := range others {
		if !alive(pid) {
			t.Errorf("process %d of a living agent was swept", pid)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(runDir, "*")); len(left) != 2 {
		t.Errorf("%v, want the journals of two living agents", left)
	}
}

func TestSweepSparesStrangers(t *testing.T) {
	runDir := t.TempDir()
	c := inProcess(t, Options{RunDir: t.TempDir()})
	file := filepath.Join(t.TempDir(), "pids")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() { _, _ = c.Run(ctx, family(file, "")) }()
	pids := members(t, file)
	keep := filepath.Join(t.TempDir(), "keep")
	if err := os.WriteFile(keep, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	slot := func(text string) string { return text + strings.Repeat("\x00", slotSize-len(text)) }
	journals := map[string]string{
		"journal-reused": slot("here "+processNumbers()) + slot("group "+strconv.Itoa(pids[0])+" 1") + slot("file "+keep) +
			slot("group 1 1") + slot("group -1 1") + slot("group 0 "),
		"journal-empty":     "",
		"journal-elsewhere": slot("here another") + slot("group "+strconv.Itoa(pids[0])+" "+startTime(pids[0])),

		pushPrefix + "1":        "", // of a process that lives
		pushPrefix + "99999999": "",
	}
	for name, content := range journals {
		if err := os.WriteFile(filepath.Join(runDir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	inProcess(t, Options{RunDir: runDir})
	for _, pid := range pids {
		if !alive(pid) {
			t.Errorf("process %d is gone", pid)
		}
	}
	if _, err := os.Stat(keep); err != nil {
		t.Error(err)
	}
	for _, name := range []string{"journal-reused", pushPrefix + "99999999"} {
		if _, err := os.Stat(filepath.Join(runDir, name)); !os.IsNotExist(err) {
			t.Errorf("of a dead process, %s: %v", name, err)
		}
	}
	for _, name := range []string{"journal-elsewhere", pushPrefix + "1"} {
		if _, err := os.Stat(filepath.Join(runDir, name)); err != nil {
			t.Errorf("of another container or a living process: %v", err)
		}
	}
}

// sudo and su may keep XDG_RUNTIME_DIR of the user that they come from.
func TestRunDirIsTheUsersOwn(t *testing.T) {
	needRoot(t)
	dir := t.TempDir()
	if got := runDirIn(dir); got != filepath.Join(dir, "pgrun") {
		t.Errorf("its own: %q", got)
	}
	if err := os.Chown(dir, 12345, 12345); err != nil {
		t.Fatal(err)
	}
	for _, foreign := range []string{dir, "", filepath.Join(dir, "none")} {
		if got := runDirIn(foreign); got != "" {
			t.Errorf("%q: %q", foreign, got)
		}
	}
}

func TestJournalRefusesAFolderOfOthers(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	if _, err := openJournal(dir); err == nil || !strings.Contains(err.Error(), "only its user") {
		t.Errorf("%v", err)
	}
}
