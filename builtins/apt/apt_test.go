package apt

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pgrun/pgrun/builtins/file"
	"github.com/pgrun/pgrun/runtime/builtin"
	"github.com/pgrun/pgrun/runtime/builtin/builtintest"
	"github.com/pgrun/pgrun/runtime/builtin/builtintest/container"
	"github.com/pgrun/pgrun/runtime/host"
)

// machine is a container with the packages of these tests within its reach.
type machine struct {
	*builtintest.Bench
	t    *testing.T
	host host.Host
}

// sh runs a shell script there.
func (m machine) sh(script string) string {
	m.t.Helper()
	c := host.Command{Argv: []string{"sh", "-euc", script}, Env: map[string]string{"DEBIAN_FRONTEND": "noninteractive"}}
	out, err := host.Succeeded(c)(m.host.Run(m.t.Context(), c))
	if err != nil {
		m.t.Fatal(err)
	}
	return strings.TrimSpace(out.Stdout)
}

// summary checks what the last script did, or would have.
func (m machine) summary(want ...string) {
	m.t.Helper()
	got := m.Summary()
	if len(got) != len(want) {
		m.t.Errorf("got %q, want %q", got, want)
		return
	}
	for i := range got {
		if ok, err := filepath.Match(want[i], strings.ReplaceAll(got[i], "/", "|")); !ok || err != nil {
			m.t.Errorf("got %q, want %q", got[i], want[i])
		}
	}
}

func TestContainer(t *testing.T) {
	c := container.New(t, "pgrun-test-apt")
	for _, x := range []struct {
		name string
		test func(machine)
	}{
		{"no lists", testNoLists},
		{"install", testInstall},
		{"stale lists", testStaleLists},
		{"half-way", testHalfWay},
		{"locks", testLocks},
		{"repository", testRepository},
	} {
		t.Run(x.name, func(t *testing.T) {
			b := builtintest.New(t, c.Machine, Module(), file.Module())
			wd, err := os.Getwd()
			if err != nil {
				t.Fatal(err)
			}
			b.Dir = filepath.Join(wd, "testdata", "conformance")
			x.test(machine{b, t, c.Host})
		})
	}
}

func testNoLists(m machine) {
	m.sh("rm -rf /var/lib/apt/lists/* /var/lib/apt/periodic/update-success-stamp; dpkg --purge hello tree gawk 2>/dev/null")
	m.Check(`apt.install(h, "hello")`)
	m.summary("refresh the package lists (there are none yet)", "install hello (version known after apt update)")
	m.Fails(`apt.install(h, "hello", update = None)`, "the package lists are empty", "update")
	m.Check(`apt.installed(h, "hello")["hello"] == None and apt.candidate(h, "hello") == None or fail()`)

	// A refresh that fails leaves lists that look new, and are not taken for it.
	m.sh("cp /etc/apt/sources.list /root; echo 'deb [trusted=yes] file:/nonesuch ./' >> /etc/apt/sources.list")
	m.Fails(`apt.install(h, "hello")`, "refresh the package lists", "file:/nonesuch")
	m.sh("touch -d '2001-01-01' /etc/apt/sources.list.d /etc/apt/keyrings; cp /root/sources.list /etc/apt; touch -d '2001-01-01' /etc/apt/sources.list")
	m.Check(`apt.update(h)`)
	m.summary("refresh the package lists (the last refresh was not completed)")

	m.Run(`apt.install(h, "hello")`)
	m.summary("refresh the package lists (the last refresh was not completed)", "install hello [0-9]*")
	m.Run(`apt.install(h, "hello").versions["hello"].startswith("2.") or fail()`)
	if m.Run(`apt.update(h)`).Changed() {
		m.t.Errorf("the lists are not fresh: %q", m.Summary())
	}
}

func testInstall(m machine) {
	m.Run(`apt.remove(h, ["hello", "tree", "gawk"], purge = True)
apt.install(h, "mawk")`)
	before := m.sh("stat -c '%y %z' /var/cache/apt/*.bin; ls -l --full-time /var/log/apt")
	m.Check(`apt.install(h, ["hello", "tree=*", "awk", "gawk"])`)
	m.summary("install hello 2.*", "install tree 2.*", "install gawk *", "with [0-9]* more: *libsigsegv2*")
	if after := m.sh("stat -c '%y %z' /var/cache/apt/*.bin; ls -l --full-time /var/log/apt"); before != after {
		m.t.Errorf("a dry run wrote: before\n%s\nafter\n%s", before, after)
	}
	m.Idempotent(`apt.install(h, ["hello", "tree=*", "awk"])`)
	m.Idempotent(`apt.remove(h, "tree")`)
	m.Idempotent(`apt.remove(h, "tree", purge = True)
apt.hold(h, "hello")`)
	m.Run(`apt.install(h, ["hello"], state = "latest")`)
	m.summary()
	m.Fails(`apt.install(h, ["hello=1*"])`, "hello is held at 2.", "apt.unhold")
	m.Fails(`apt.remove(h, ["hello"])`, "hello is held at 2.")
	m.Idempotent(`apt.unhold(h, "hello")`)

	m.Fails(`apt.install(h, "postgresql-99")`, `no package "postgresql-99" for Debian `, "(have postgresql-1", "apt.repository")
	m.Fails(`apt.install(h, "helo")`, `no package "helo" for Debian `, "hello")
	m.Fails(`apt.install(h, "hello=1*")`, "no version 1* of hello for Debian ", "(have 2.")
	m.Fails(`apt.install(h, "mail-transport-agent")`, "mail-transport-agent is a virtual package", "postfix")
	m.CheckFails(`apt.install(h, "mail-transport-agent")`)
	m.Fails(`apt.remove(h, "base-files")`, "remove base-files: exit code 100", "unmet dependencies", "bash")

	// What an earlier step of a dry run may bring is no error yet.
	m.Check(`file.content(h, "/etc/apt/sources.list.d/pending.list", content = "")
apt.install(h, "postgresql-99")`)
	if last := m.Events[len(m.Events)-1]; last.Status != builtin.Unknown {
		m.t.Errorf("a package that may come: %s, %q", last.Status, last.Summary)
	}
}

func testStaleLists(m machine) {
	m.Run(`apt.install(h, "hello")
apt.remove(h, "tree")
apt.update(h)`)
	m.sh("touch -d '3 hours ago' /var/lib/apt/periodic/update-success-stamp; touch -d '4 hours ago' /etc/apt/sources.list.d /etc/apt/sources.list /etc/apt/keyrings")
	m.Run(`apt.install(h, "hello")`)
	m.summary() // nothing to install: the lists do not matter
	m.Check(`apt.install(h, "tree", update = "4h")`)
	m.summary("install tree 2.*")
	m.Check(`apt.install(h, "tree")`)
	m.summary("refresh the package lists (they are from 20*", "install tree 2.*")
	m.Idempotent(`apt.install(h, ["hello", "awk"], state = "latest")`)

	m.sh("touch /etc/apt/sources.list")
	m.Check(`apt.install(h, "tree", update = "4h")`)
	m.summary("refresh the package lists (a repository was changed)", "install tree 2.*")
	m.Idempotent(`apt.update(h)`)
	m.Check(`apt.update(h, max_age = "0s")`)
	m.summary("refresh the package lists (they are from 20*")
}

// testHalfWay has what a killed run leaves behind.
func testHalfWay(m machine) {
	m.Run(`apt.install(h, ["mawk"])
apt.remove(h, ["hello", "tree", "rsync", "libpopt0"], purge = True)`)

	m.sh("cd /tmp; apt-get -qq download hello; dpkg --unpack hello_*.deb >/dev/null; rm hello_*.deb")
	m.Check(`apt.install(h, "hello")`)
	m.summary("finish an interrupted installation: hello")
	m.Idempotent(`apt.install(h, "hello")`)

	// It lacks what it depends on.
	m.sh("cd /tmp; apt-get -qq download rsync; dpkg --unpack rsync_*.deb >/dev/null; rm rsync_*.deb")
	m.Run(`apt.install(h, "tree")`)
	m.summary("finish an interrupted installation: rsync", "install tree 2.*")
	m.Run(`apt.installed(h, ["rsync", "libpopt0"])["libpopt0"] or fail()`)

	// dpkg was killed: apt-get would say "you must manually run 'dpkg --configure -a'".
	m.sh(`dpkg-query -s hello | sed 's/^Status: .*/Status: install ok half-configured/' > /var/lib/dpkg/updates/0000
apt-get -y install tree 2>&1 | grep -q 'dpkg was interrupted'`)
	m.Run(`apt.remove(h, "tree")`)
	m.summary("finish an interrupted installation: hello", "remove tree 2.*")
	m.Run(`apt.install(h, "hello")`)
	m.summary()

	// It was killed while it unpacked a package: dpkg refuses to configure that, for ever, or passes over it.
	for _, status := range []string{"install reinstreq unpacked", "install reinstreq half-installed", "hold reinstreq unpacked"} {
		m.sh(fmt.Sprintf("dpkg-query -s hello | sed 's/^Status: .*/Status: %s/' > /var/lib/dpkg/updates/0000", status))
		m.Run(`apt.install(h, "tree")`)
		m.summary("finish an interrupted installation: hello", "install tree 2.*")
		m.sh("dpkg-query -s hello | grep -q '^Status: [a-z]* ok installed$'")
		m.Idempotent(`apt.remove(h, "tree")`)
	}
	m.Idempotent(`apt.unhold(h, "hello")`)
}

// lockScript holds a lock of fcntl's, as APT and dpkg do, and says so.
const lockScript = `use Fcntl qw(:DEFAULT F_SETLK F_WRLCK SEEK_SET);
sysopen(my $h, $ARGV[0], O_RDWR|O_CREAT) or die $!;
my $l = pack("s s l! l! i", F_WRLCK, SEEK_SET, 0, 0, 0);
fcntl($h, F_SETLK, $l) or die $!;
open(my $said, ">", "/run/locked"); close($said);
sleep 600;`

// hold holds a lock until the function it returns is called.
func (m machine) hold(lock string) (release func()) {
	m.t.Helper()
	m.sh("rm -f /run/locked")
	ctx, cancel := context.WithCancel(m.t.Context())
	done := make(chan error)
	go func() {
		c := host.Command{Argv: []string{"perl", "-e", lockScript, lock}}
		_, err := host.Succeeded(c)(m.host.Run(ctx, c))
		done <- err
	}()
	for {
		if _, err := m.host.Stat(m.t.Context(), "/run/locked"); err == nil {
			break
		}
		select {
		case err := <-done:
			m.t.Fatal(err)
		case <-time.After(20 * time.Millisecond):
		}
	}
	return func() {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			m.t.Errorf("the lock %s was given up: %v", lock, err)
		}
	}
}

func testLocks(m machine) {
	m.Run(`apt.update(h)`)
	for _, x := range []struct{ lock, script string }{
		{"/var/lib/apt/lists/lock", `apt.update(h, max_age = "0s", lock_timeout = %q)`},
		{"/var/cache/apt/archives/lock", `apt.install(h, "tree", lock_timeout = %q)`},
		{"/var/lib/dpkg/lock-frontend", `apt.install(h, "tree", lock_timeout = %q)`},
	} {
		m.Run(`apt.remove(h, "tree")`)
		release := m.hold(x.lock)
		m.Fails(fmt.Sprintf(x.script, "1s"), x.lock+" is held by process ", "(perl)", "lock_timeout")
		waited := make(chan struct{})
		go func() {
			defer close(waited)
			time.Sleep(1500 * time.Millisecond) // long enough for the first try to meet the lock
			release()
		}()
		m.Run(fmt.Sprintf(x.script, "1m"))
		<-waited
	}
	release := m.hold("/var/lib/dpkg/lock")
	m.Fails(`apt.hold(h, "tree", lock_timeout = "0s")`, "hold tree: /var/lib/dpkg/lock is held by process ")
	release()

	began := time.Now()
	release = m.hold("/var/lib/dpkg/lock-frontend")
	m.Fails(`apt.remove(h, "tree", timeout = "2s")`, "not done within the timeout")
	if took := time.Since(began); took > 20*time.Second {
		m.t.Errorf("a timeout of 2s took %s", took)
	}
	release()
}

func testRepository(m machine) {
	key := readTestdata(m.t, "conformance/repository/key.asc")
	served := map[string]string{"/key": key}
	requests := 0
	listener, err := net.Listen("tcp4", ":0")
	if err != nil {
		m.t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests++
		content, ok := served[r.URL.Path]
		if !ok {
			http.NotFound(w, r)
			return
		}
		_, _ = w.Write([]byte(content))
	})}
	go func() { _ = server.Serve(listener) }()
	defer server.Close()
	port := listener.Addr().(*net.TCPAddr).Port
	url := fmt.Sprintf("http://%s:%d", m.sh("ip -4 route show default | cut -d' ' -f3"), port)

	m.Run(`apt.repository(h, "test", state = "absent")
file.copy(h, "/srv/repository", source = "repository")
apt.update(h)`)
	call := func(more string) string {
		return `apt.repository(h, "test", uris = "file:/srv/repository", suites = "./", ` + more + `)`
	}
	byURL := func(path string) string {
		return call(fmt.Sprintf("key_url = %q, key_fingerprints = %q", url+path, firstKey))
	}
	nothing := func() {
		m.t.Helper()
		if left := m.sh("ls /etc/apt/sources.list.d /etc/apt/keyrings; ls -d /run/pgrun-key-* || true"); strings.Contains(left, "test") || strings.Contains(left, "pgrun-key") {
			m.t.Errorf("left behind: %s", left)
		}
	}
	m.Fails(byURL("/missing"), "key_url", "404")
	nothing()
	m.Fails(call(fmt.Sprintf("key_url = %q, key_fingerprints = %q", url+"/key", secondKey)), "the key's fingerprint is "+firstKey)
	nothing()
	m.Fails(call(fmt.Sprintf("key_url = %q, key_sha256 = %q", url+"/key", strings.Repeat("ab", 32))), "the key's SHA-256 is")
	nothing()

	requests = 0
	m.Check(byURL("/key"))
	m.summary("fetch the key "+firstKey+" from *", "create |etc|apt|sources.list.d|test.sources *", "refresh the package lists (a repository was changed)")
	if requests > 0 {
		m.t.Error("a dry run fetched the key")
	}
	m.Idempotent(byURL("/key"))
	if requests != 1 {
		m.t.Errorf("the key was fetched %d times", requests)
	}
	if got, want := m.sh("cat /etc/apt/sources.list.d/test.sources"), "Types: deb\nURIs: file:/srv/repository\nSuites: ./\nSigned-By: /etc/apt/keyrings/test.asc"; got != want {
		m.t.Errorf("got\n%s\nwant\n%s", got, want)
	}

	// The same key as a binary file takes the place of the armored one.
	packets, err := dearmor(key)
	if err != nil {
		m.t.Fatal(err)
	}
	served["/key.gpg"] = string(packets)
	m.sh("echo spoilt > /etc/apt/keyrings/test.asc")
	m.Idempotent(byURL("/key.gpg"))
	if got := m.sh("ls /etc/apt/keyrings"); got != "test.gpg" {
		m.t.Errorf("keyrings: %q", got)
	}
	m.Idempotent(call(`key_file = "repository/key.asc"`))
	if got := m.sh("ls /etc/apt/keyrings"); got != "test.asc" {
		m.t.Errorf("keyrings: %q", got)
	}

	// Cut off after it had written the files: the lists are still to be refreshed.
	m.sh("touch -d '1 hour ago' /var/lib/apt/periodic/update-success-stamp")
	m.Idempotent(call(`key_file = "repository/key.asc"`))

	// A key that does not fit is found out by APT.
	m.Fails(call(fmt.Sprintf("key = %q", readTestdata(m.t, "other-key.asc"))), "refresh the package lists", "srv/repository")
	m.Idempotent(`apt.repository(h, "test", state = "absent")`)
	nothing()
	m.Run(`apt.update(h)`)
}
