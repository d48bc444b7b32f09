package e2e_test

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// hunt looks for secrets in every place that they could get to, while runs go on and after them.
type hunt struct {
	f     *formation
	began time.Time
	stop  chan struct{}
	over  sync.WaitGroup

	printed map[string]string   // by command line
	seen    map[string]struct{} // command lines and environments of processes
	daemon  bytes.Buffer        // events, operations and log of the Incus daemon, as they came
}

// startHunt begins to watch the processes of this machine, which are the containers', too, and the Incus daemon.
func startHunt(t *testing.T, f *formation) *hunt {
	t.Helper()
	h := &hunt{f: f, began: time.Now(), stop: make(chan struct{}), printed: map[string]string{}, seen: map[string]struct{}{}}
	monitor := exec.CommandContext(t.Context(), "incus", "monitor", "--format", "json")
	monitor.Stdout = &h.daemon
	if err := monitor.Start(); err != nil {
		t.Fatal(err)
	}
	h.over.Go(func() {
		<-h.stop
		_ = monitor.Process.Kill()
		_ = monitor.Wait()
	})
	h.over.Go(h.watch)
	t.Cleanup(h.end)
	return h
}

// watch keeps what ps would show to anybody, and what /proc shows to root: of each process as soon as it is there, for a
// while, in which it may become another program, and then every two seconds.
func (h *hunt) watch() {
	const every, reads, again = 20 * time.Millisecond, 4, 100
	tick := time.NewTicker(every)
	defer tick.Stop()
	read := map[string]int{}
	for {
		select {
		case <-h.stop:
			return
		case <-tick.C:
		}
		now, _ := filepath.Glob("/proc/[0-9]*")
		left := map[string]int{}
		for _, process := range now {
			left[process] = (read[process] + 1) % again
			if read[process] >= reads {
				continue
			}
			for _, what := range []string{"/cmdline", "/environ"} {
				if content, err := os.ReadFile(process + what); err == nil { // else it has ended meanwhile
					h.seen[string(content)] = struct{}{}
				}
			}
		}
		read = left
	}
}

func (h *hunt) end() {
	select {
	case <-h.stop:
	default:
		close(h.stop)
	}
	h.over.Wait()
}

// exits is formation.exits, and keeps what was printed.
func (h *hunt) exits(code int, c *exec.Cmd, want ...string) {
	h.f.t.Helper()
	h.printed[strings.Join(c.Args[1:], " ")] = h.f.exits(code, c, want...).out
}

// kept are the files that secrets are for, which are root's or PostgreSQL's alone.
var kept = []string{"/etc/pgaf/server.key", "/var/lib/postgresql/.pgpass"}

// notFound ends the watching and fails the test where one of the secrets is anywhere but in the files that are for it. It
// returns the places that it looked at.
func (h *hunt) notFound(t *testing.T, secrets map[string]string) (places []string) {
	t.Helper()
	h.end()
	look := func(place, text string) {
		for name, s := range secrets {
			if i := strings.Index(text, s); i >= 0 {
				t.Errorf("%s is in %s: ...%q", name, place, strings.ReplaceAll(text[max(0, i-120):i], s, "***"))
			}
		}
	}
	for line, out := range h.printed {
		look("the output of pgrun "+line, out)
	}
	places = append(places, fmt.Sprintf("the output of %d runs: text and JSON, -v and --diff, dry and real, failed ones too", len(h.printed)))
	for text := range h.seen {
		look("/proc", text)
	}
	places = append(places, fmt.Sprintf("%d command lines and environments of processes, here and in the containers, sampled every 20 ms", len(h.seen)))
	look("what incus monitor printed", h.daemon.String())
	if h.daemon.Len() == 0 {
		t.Error("the Incus daemon has said nothing")
	}
	places = append(places, fmt.Sprintf("the Incus daemon's events, operations and debug log, %d KiB", h.daemon.Len()>>10))

	var all []string
	for _, s := range secrets {
		all = append(all, s)
	}
	slices.Sort(all)
	patterns := strings.Join(all, "\n") + "\n"
	for _, name := range h.f.instances(t.Context()) {
		found := h.grep(t, patterns, "incus", "exec", "-T", name, "--", "grep", "-rlaF", "-f", "-", "--exclude-dir=proc", "--exclude-dir=sys", "--exclude-dir=dev", "/", "/dev/shm")
		if !slices.Contains(found, kept[0]) { // or it would find nothing anywhere
			t.Errorf("%s: the key is not found in %s, where it is", name, kept[0])
		}
		for _, file := range found {
			if !slices.Contains(kept, file) {
				t.Errorf("%s: a secret is in %s", name, file)
				continue
			}
			if mode := strings.TrimSpace(h.f.shell(name, "stat -c %a "+file)); mode != "600" {
				t.Errorf("%s: %s has the mode %s", name, file, mode)
			}
		}
		if found := h.grep(t, patterns, "incus", "exec", "-T", name, "--", "sh", "-c",
			"cat > /dev/shm/patterns && journalctl --no-pager -o export > /dev/shm/journal || exit 9; "+
				"grep -qaF -f /dev/shm/patterns /dev/shm/journal && echo journal; rm /dev/shm/patterns /dev/shm/journal"); len(found) > 0 {
			t.Errorf("%s: a secret is in the journal", name)
		}
	}
	places = append(places, "every file of each container but "+strings.Join(kept, " and ")+", which are for them (0600): logs of PostgreSQL, WAL, /run, /tmp and what the agent left; and each journal")

	// This machine's own, as far as it has changed meanwhile; but for the directory that is for them.
	for _, dir := range []string{"/var/log/incus", "/var/lib/incus/database", "/run/pgrun", "/run/incus", "/dev/shm", os.TempDir(), "/var/tmp"} {
		if err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			switch {
			case errors.Is(err, fs.ErrNotExist): // not there, or not any more
				return nil
			case err != nil:
				return err
			case d.IsDir() && (path == filepath.Dir(h.f.directory) || strings.HasPrefix(d.Name(), "go-build")): // the program that has them
				return fs.SkipDir
			}
			if info, err := os.Lstat(path); err == nil && info.Mode().IsRegular() && info.ModTime().After(h.began) {
				if content, err := os.ReadFile(path); err == nil { // else it has gone meanwhile
					look(path, string(content))
				}
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		places = append(places, "what changed in "+dir)
	}
	return places
}

// grep returns the files in which a command finds the patterns.
func (h *hunt) grep(t *testing.T, patterns string, argv ...string) []string {
	t.Helper()
	c := exec.CommandContext(t.Context(), argv[0], argv[1:]...)
	c.Stdin = strings.NewReader(patterns)
	out, err := c.Output()
	var exit *exec.ExitError
	if err != nil && (!errors.As(err, &exit) || exit.ExitCode() > 2) { // 1: found nothing; 2: a file went away meanwhile
		t.Fatalf("%v: %v", argv, err)
	}
	return strings.Fields(string(out))
}

// planted are the secrets of a formation: those of the test's own, and those that pgrun made.
func (f *formation) planted() map[string]string {
	f.t.Helper()
	secrets := map[string]string{"the application's password": appPassword, "the vault's password": vaultPassword}
	for _, role := range []string{"autoctl_node", "pgautofailover_replicator"} {
		content, err := os.ReadFile(filepath.Join(f.directory, role+".password"))
		must(f.t, err)
		secrets["the password of "+role] = strings.TrimSpace(string(content))
	}
	keys := map[string]string{}
	authority, err := os.ReadFile(filepath.Join(f.directory, "ca", "ca.key"))
	must(f.t, err)
	keys["the authority's key"] = string(authority)
	for _, name := range f.instances(f.t.Context()) {
		keys["the key of "+name] = f.shell(name, "cat /etc/pgaf/server.key")
	}
	for name, key := range keys {
		secrets[name] = strings.Split(key, "\n")[1] // the first line of its Base64
	}
	for name, s := range maps.Clone(secrets) {
		if escaped := url.QueryEscape(s); escaped != s {
			secrets[name+", percent-encoded"] = escaped
		}
		secrets[name+", in Base64"] = strings.TrimRight(base64.StdEncoding.EncodeToString([]byte(s)), "=")
	}
	return secrets
}
