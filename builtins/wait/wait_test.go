package wait

import (
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/pgrun/pgrun/builtins/command"
	"github.com/pgrun/pgrun/runtime/builtin/builtintest"
	"github.com/pgrun/pgrun/runtime/outcome"
	"github.com/pgrun/pgrun/runtime/transport"
)

func bench(t *testing.T) *builtintest.Bench {
	t.Helper()
	reader := transport.NewReader("here", transport.Local())
	session := transport.NewSession("here", transport.Local(), false)
	t.Cleanup(func() { _, _ = reader.Close(), session.Close() })
	return builtintest.New(t, builtintest.Machine{Reader: reader, Host: session}, Module(), command.Module())
}

// late is a deadline that a wait in these tests must run into.
const late = `timeout = "150ms", every = "20ms"`

// tooLate fails the test unless the script ends with exit code 2 and these words.
func tooLate(t *testing.T, b *builtintest.Bench, script string, want ...string) {
	t.Helper()
	if err := b.Fails(script, want...); outcome.Of(err) != outcome.TimedOut {
		t.Errorf("%s\nexit code %d, want %d: %v", script, outcome.Of(err), outcome.TimedOut, err)
	}
}

func TestPort(t *testing.T) {
	b := bench(t)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := listener.Addr().(*net.TCPAddr).Port
	b.Run(fmt.Sprintf(`wait.port(h, %d)`, port))
	tooLate(t, b, fmt.Sprintf(`wait.port(h, %d, state = "closed", %s)`, port, late),
		fmt.Sprintf("wait.port: port 127.0.0.1:%d closed: not so after 150ms; last: it still accepts connections", port))
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	b.Run(fmt.Sprintf(`wait.port(h, %d, state = "closed")`, port))
	tooLate(t, b, fmt.Sprintf(`wait.port(h, %d, %s)`, port, late), fmt.Sprintf("port 127.0.0.1:%d open: not so after 150ms; last: ", port), "refused")

	// What is no refused connection does not say that the port is closed.
	tooLate(t, b, fmt.Sprintf(`wait.port(h, 80, address = "nosuchname.invalid", state = "closed", %s)`, late),
		"port nosuchname.invalid:80 closed: not so after 150ms; last: whether it is closed is not known: ", "nosuchname.invalid")

	// One that opens while it is waited for.
	opened := make(chan net.Listener, 1)
	time.AfterFunc(100*time.Millisecond, func() {
		l, _ := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		opened <- l
	})
	b.Run(fmt.Sprintf(`
took = wait.port(h, %d, every = "10ms")
if took.milliseconds < 50: fail(took)`, port))
	if l := <-opened; l != nil {
		_ = l.Close()
	}

	b.Fails(`wait.port(h, 0)`, "port 0 is none")
	b.Fails(`wait.port(h, 80, state = "up")`, `for parameter "state": "up" is none of its values: open, closed`)
	b.Fails(`wait.port(h, 80, address = "")`, "address is empty")
	b.Fails(`wait.port(h, 80, every = "0s")`, "every is 0")
	b.Fails(`wait.port(h, 80, timeout = 3)`, `"timeout": got int, want a duration`)
}

func TestFile(t *testing.T) {
	b := bench(t)
	file := t.TempDir() + "/x"
	script := func(args string) string { return fmt.Sprintf(`wait.file(h, %q, %s)`, file, args) }
	b.Run(script(`state = "absent"`))
	tooLate(t, b, script(late), "file "+file+" present: not so after 150ms", "no such file")
	time.AfterFunc(100*time.Millisecond, func() { _ = os.WriteFile(file, []byte("ready: no\n"), 0o644) })
	b.Run(script(`every = "10ms"`))
	b.Run(script(`contains = "ready"`))
	tooLate(t, b, script(`contains = "ready: yes", `+late), `containing "ready: yes"`, "its 10 bytes do not contain it")
	tooLate(t, b, script(`state = "absent", `+late), "it is still there")
	b.Fails(`wait.file(h, "x")`, `path "x" is not absolute`)
	b.Fails(script(`state = "gone"`), `for parameter "state": "gone" is none of its values: present, absent`)
	b.Fails(script(`state = "absent", contains = "x"`), "contains is for")
}

func TestURL(t *testing.T) {
	b := bench(t)
	started := time.Now()
	handler := http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		switch {
		case req.URL.Path == "/moved":
			http.Redirect(w, req, "/", http.StatusFound)
		case req.URL.Path == "/soon" && time.Since(started) < 200*time.Millisecond:
			http.Error(w, "not yet", http.StatusServiceUnavailable)
		default:
			_, _ = fmt.Fprint(w, "all is well")
		}
	})
	plain, secure := httptest.NewServer(handler), httptest.NewTLSServer(handler)
	t.Cleanup(plain.Close)
	t.Cleanup(secure.Close)
	secure.Config.ErrorLog = nil

	b.Run(fmt.Sprintf(`wait.url(h, "%s/soon", every = "20ms")`, plain.URL))
	b.Run(fmt.Sprintf(`wait.url(h, "%s/moved", status = 302)`, plain.URL))
	b.Run(fmt.Sprintf(`wait.url(h, "%s", contains = "well")`, plain.URL))
	tooLate(t, b, fmt.Sprintf(`wait.url(h, "%s", contains = "ill", %s)`, plain.URL, late), `answering 200 with "ill": not so`, "its answer of 11 bytes does not contain it")
	tooLate(t, b, fmt.Sprintf(`wait.url(h, "%s/moved", %s)`, plain.URL, late), "the status is 302 Found")
	tooLate(t, b, fmt.Sprintf(`wait.url(h, "%s", %s)`, secure.URL, late), "certificate")
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: secure.Certificate().Raw})
	b.Run(fmt.Sprintf(`wait.url(h, "%s", ca = """%s""")`, secure.URL, ca))

	b.Fails(`wait.url(h, "ftp://x")`, `url "ftp://x": want one of http or https`)
	b.Fails(`wait.url(h, "http://x:y z")`, "url cannot be parsed")
	b.Fails(`wait.url(h, "http://x", status = 2)`, "status 2 is none")
	b.Fails(`wait.url(h, "http://x", ca = "x")`, "ca holds no certificate")
	if err := b.Fails(`wait.url(h, "http://user:hunter22@127.0.0.1:1/", `+late+`)`, "refused"); strings.Contains(err.Error(), "hunter") {
		t.Errorf("shows the password: %v", err)
	}
}

func TestDryRun(t *testing.T) {
	b := bench(t)
	const look = `wait.file(h, "/nowhere/x", timeout = "1h")`
	started := time.Now()
	_, err := b.Try(look, true)
	if err == nil || outcome.Kind(err) != "missing" || !strings.Contains(err.Error(), "a dry run looks once") {
		t.Errorf("with nothing pending: %v", err)
	}
	_, err = b.Try("command(h, [\"true\"])\n"+look, true)
	if undetermined := (*outcome.Undetermined)(nil); !errors.As(err, &undetermined) {
		t.Errorf("behind a change: %v", err)
	}
	_, err = b.Try("command(h, [\"true\"])\nwait.port(h, 1)", true)
	if undetermined := (*outcome.Undetermined)(nil); !errors.As(err, &undetermined) {
		t.Errorf("behind a change: %v", err)
	}
	if took := time.Since(started); took > 30*time.Second {
		t.Errorf("it waited for %s", took)
	}
	b.Check(`wait.file(h, "/etc/passwd")`)
}
