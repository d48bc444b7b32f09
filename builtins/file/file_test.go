package file

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pgrun/pgrun/runtime/builtin/builtintest"
	"github.com/pgrun/pgrun/runtime/transport"
)

// newBench returns a Bench on this machine, and a directory to work in, which scripts name as D.
func newBench(t *testing.T) (*onDir, string) {
	t.Helper()
	reader := transport.NewReader("here", transport.Local())
	session := transport.NewSession("here", transport.Local(), false)
	t.Cleanup(func() { _, _ = reader.Close(), session.Close() })
	dir := t.TempDir()
	return &onDir{builtintest.New(t, builtintest.Machine{Reader: reader, Host: session}, Module()), dir}, dir
}

// onDir puts the directory in the place of D in scripts.
type onDir struct {
	*builtintest.Bench
	dir string
}

func (b *onDir) in(script string) string { return strings.ReplaceAll(script, "D/", b.dir+"/") }

func (b *onDir) run(script string) *builtintest.Result   { return b.Run(b.in(script)) }
func (b *onDir) check(script string) *builtintest.Result { return b.Check(b.in(script)) }
func (b *onDir) idempotent(script string)                { b.Idempotent(b.in(script)) }
func (b *onDir) fails(script string, want ...string) {
	for i := range want {
		want[i] = b.in(want[i])
	}
	b.Fails(b.in(script), want...)
}

// diff is what the last script would show with --diff.
func (b *onDir) diff() string {
	var diffs strings.Builder
	for _, e := range b.Events {
		diffs.WriteString(e.Diff)
	}
	return strings.ReplaceAll(diffs.String(), b.dir+"/", "D/")
}

func (b *onDir) summary() string {
	return strings.ReplaceAll(strings.Join(b.Summary(), "\n"), b.dir+"/", "D/")
}

func write(t *testing.T, path, content string, mode fs.FileMode) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
}

func has(t *testing.T, path, content string, mode fs.FileMode) {
	t.Helper()
	got, err := os.ReadFile(path)
	if err != nil {
		t.Error(err)
		return
	}
	if string(got) != content {
		t.Errorf("%s holds %q, want %q", path, got, content)
	}
	if fi, err := os.Lstat(path); err != nil || fi.Mode() != mode {
		t.Errorf("%s: mode %v, want %v (%v)", path, fi.Mode(), mode, err)
	}
}

func same(t *testing.T, what, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("%s is\n%s\nwant\n%s", what, got, want)
	}
}

func TestContent(t *testing.T) {
	b, dir := newBench(t)
	at := dir + "/x"

	b.idempotent(`file.content(h, "D/x", content = "a\nb\n")`)
	has(t, at, "a\nb\n", 0o644)

	// Mode and owner stay where nothing is said.
	write(t, at, "old\n", 0o640)
	b.idempotent(`file.content(h, "D/x", content = "new")`)
	has(t, at, "new", 0o640)

	b.idempotent(`file.content(h, "D/x", content = "new", mode = "0600")`)
	has(t, at, "new", 0o600)
	b.run(`file.content(h, "D/x", content = "new", mode = "0604")`)
	b.check(`file.content(h, "D/x", content = "newer\n", mode = "4755")`)
	same(t, "summary", b.summary(), "change D/x\nset mode 4755 of D/x")
	same(t, "diff", b.diff(), "--- D/x\n+++ D/x\n@@ -1 +1 @@\n-new\n\\ No newline at end of file\n+newer\n"+
		"--- D/x (attributes)\n+++ D/x (attributes)\n@@ -1 +1 @@\n-mode 0604\n+mode 4755\n")
	b.run(`file.content(h, "D/x", content = "newer\n", mode = "4755")`)
	has(t, at, "newer\n", 0o755|fs.ModeSetuid)

	b.idempotent(`file.content(h, "D/x", content = "")`)
	has(t, at, "", 0o755|fs.ModeSetuid)
	b.idempotent(`file.content(h, "D/empty", content = "")`)
	b.idempotent(`file.content(h, "D/bytes", content = b"\xff\x00\xfe")`)
	has(t, dir+"/bytes", "\xff\x00\xfe", 0o644)
	b.idempotent(`file.content(h, "D/bytes", content = b"\xff\x00")`)

	big := strings.Repeat("0123456789abcdef", 100_000)
	write(t, dir+"/big", big, 0o644)
	if b.run(`file.content(h, "D/big", content = "0123456789abcdef" * 100000)`).Changed() {
		t.Error("a large file of the same content counts as changed")
	}
	b.idempotent(`file.content(h, "D/big", content = "0123456789abcdeF" * 100000)`)
	b.idempotent(`file.content(h, "D/big", content = "small")`)
}

func TestContentInPlaceOfOthers(t *testing.T) {
	b, dir := newBench(t)
	write(t, dir+"/target", "target\n", 0o600)
	if err := os.Symlink("target", dir+"/link"); err != nil {
		t.Fatal(err)
	}
	b.check(`file.content(h, "D/link", content = "mine\n")`)
	same(t, "summary", b.summary(), "replace the link D/link -> target by a file (5 bytes)")
	b.idempotent(`file.content(h, "D/link", content = "mine\n")`)
	has(t, dir+"/link", "mine\n", 0o644)
	has(t, dir+"/target", "target\n", 0o600)

	b.fails(`file.content(h, "D/", content = "")`, `path "D/" ends with /`)
	b.run(`file.directory(h, "D/dir")`)
	b.fails(`file.content(h, "D/dir", content = "")`, `path D/dir is a directory, where a file is wanted`, "file.absent")
	b.fails(`file.content(h, "D/no/x", content = "")`, `no directory D/no`, "file.directory")
	b.fails(`file.content(h, "relative", content = "")`, `path "relative" is not absolute`)
	b.fails(`file.content(h, "", content = "")`, `path is empty`)
	b.fails(`file.content(h, "D/x", content = "", owner = "nobody-such")`, `owner "nobody-such": no such user`, "user.present")
	b.fails(`file.content(h, "D/target", content = "", group = "nobody-such")`, `group "nobody-such": no such group`, "group.present")
	b.fails(`file.content(h, "D/x", content = "", owner = "-x")`, `owner "-x" is not a name`)
	b.fails(`file.content(h, "D/x", content = "", mode = "rw")`, `"mode": "rw" is not a file mode`)
	b.fails(`file.content(h, "D/target/x", content = "")`, "not a directory")
}

func TestOwner(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root gives files away")
	}
	b, dir := newBench(t)
	b.idempotent(`file.content(h, "D/x", content = "", owner = "daemon", group = "daemon")`)
	same(t, "diff of a number", func() string {
		b.check(`file.content(h, "D/x", content = "", owner = "1", group = "1")`)
		return b.diff()
	}(), "")
	b.check(`file.content(h, "D/x", content = "", owner = "0")`)
	same(t, "summary", b.summary(), "set owner 0 of D/x")
	b.idempotent(`file.content(h, "D/x", content = "", owner = "54321")`)
	b.idempotent(`file.content(h, "D/x", content = "", owner = "root")`)
	// The group stays, and chown(2) must not take setuid away.
	if err := os.Chmod(dir+"/x", 0o755|fs.ModeSetuid); err != nil {
		t.Fatal(err)
	}
	b.idempotent(`file.content(h, "D/x", content = "", owner = "daemon")`)
	has(t, dir+"/x", "", 0o755|fs.ModeSetuid)
	b.run(`s = file.stat(h, "D/x")
if (s.owner, s.group, s.mode) != ("daemon", "daemon", "4755"): fail(s)`)
}

func TestSecrets(t *testing.T) {
	b, dir := newBench(t)
	r := b.run(`file.content(h, "D/x", content = "password = " + secret("hunter22") + "\n")`)
	has(t, dir+"/x", "password = hunter22\n", 0o600) // not for all to read
	if got := b.diff() + b.summary() + r.Value.String(); strings.Contains(got, "hunter") {
		t.Errorf("shows the secret: %s", got)
	}
	b.check(`file.content(h, "D/x", content = secret("other"))`)
	same(t, "diff", b.diff(), "--- D/x\n+++ D/x\n(content not shown: it holds a secret)\n")
	b.check(`file.line(h, "D/x", line = "password = " + secret("another1"), match = "^password")`)
	same(t, "diff", b.diff(), "--- D/x\n+++ D/x\n(content not shown: it holds a secret)\n")
	b.fails(`file.content(h, "D/x", content = "x = %s" % secret("hunter22"))`, `"content": the text contains a printed secret`)
	if got := b.run(`file.read(h, "D/x", secret = True)`).Value.String(); got != "<secret>" {
		t.Errorf("file.read(secret = True) is %s", got)
	}
}

// A file that everyone can read is not theirs any more once it holds a secret, unless a mode says so.
func TestSecretIntoFileOfEveryone(t *testing.T) {
	b, dir := newBench(t)
	for _, test := range []struct {
		name, call string
		before     fs.FileMode
		after      fs.FileMode
		summary    string
	}{
		{"content", `file.content(h, "D/x", content = secret("hunter22"))`, 0o644, 0o640, "change D/x\nset mode 0640 of D/x"},
		{"same content", `file.content(h, "D/x", content = secret("a=1\n"))`, 0o666, 0o660, "set mode 0660 of D/x"},
		{"own mode", `file.content(h, "D/x", content = secret("hunter22"), mode = "0604")`, 0o644, 0o604, "change D/x\nset mode 0604 of D/x"},
		{"already private", `file.content(h, "D/x", content = secret("hunter22"))`, 0o640, 0o640, "change D/x"},
		{"line", `file.line(h, "D/x", line = "b=" + secret("hunter22"))`, 0o645, 0o640, "change D/x\nset mode 0640 of D/x"},
		{"line there already", `file.line(h, "D/x", line = "a=" + secret("1"))`, 0o644, 0o640, "set mode 0640 of D/x"},
		{"line gone", `file.line(h, "D/x", line = "a=" + secret("1"), state = "absent")`, 0o644, 0o644, "change D/x"},
		{"line never there", `file.line(h, "D/x", line = "b=" + secret("1"), state = "absent")`, 0o644, 0o644, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			write(t, dir+"/x", "a=1\n", test.before)
			b.check(test.call)
			same(t, "summary", b.summary(), test.summary)
			b.run(test.call)
			if fi, err := os.Stat(dir + "/x"); err != nil || fi.Mode() != test.after {
				t.Errorf("mode %v, want %v (%v)", fi.Mode(), test.after, err)
			}
			if b.run(test.call).Changed() {
				t.Error("a second run changes it again")
			}
		})
	}
}

// What a file held that not everyone may read may be a secret, whatever it is to hold now.
func TestPrivateFilesAreNotShown(t *testing.T) {
	b, dir := newBench(t)
	write(t, b.Dir+"/x", "new\n", 0o644)
	for _, call := range []string{
		`file.content(h, "D/x", content = "new\n")`,
		`file.content(h, "D/x", content = "new\n", mode = "0644")`,
		`file.line(h, "D/x", line = "x")`,
		`file.copy(h, "D/x", source = "x")`,
	} {
		write(t, dir+"/x", "password = hunter22\n", 0o640)
		b.check(call)
		if got := b.diff(); !strings.HasPrefix(got, "--- D/x\n+++ D/x\n(content not shown: not everyone may read the file; diff = True shows it)\n") || strings.Contains(got, "hunter") {
			t.Errorf("%s: diff\n%s", call, got)
		}
	}
	const shown = "--- D/x\n+++ D/x\n@@ -1 +1 @@\n-old\n+new\n"
	write(t, dir+"/x", "old\n", 0o640)
	b.check(`file.content(h, "D/x", content = "new\n", diff = True)`)
	same(t, "diff", b.diff(), shown)
	write(t, dir+"/x", "old\n", 0o644)
	b.check(`file.copy(h, "D/x", source = "x")`)
	same(t, "diff", b.diff(), shown)
	b.check(`file.copy(h, "D/x", source = "x", diff = False)`)
	same(t, "diff", b.diff(), "--- D/x\n+++ D/x\n(content not shown: diff = False)\n")
	// Nor may everyone read it once it is there, or once its mode is changed.
	for _, call := range []string{
		`file.copy(h, "D/x", source = "x", mode = "0600")`,
		`file.content(h, "D/y", content = "new\n", mode = "0640")`,
		`file.copy(h, "D/y", source = "x", mode = "0600")`,
	} {
		b.check(call)
		if got := b.diff(); !strings.Contains(got, "(content not shown: not everyone may read the file") || strings.Contains(got, "new") {
			t.Errorf("%s: diff\n%s", call, got)
		}
	}
}

func TestTemplate(t *testing.T) {
	b, dir := newBench(t)
	write(t, b.Dir+"/x.tmpl", "port = {{.port}}\n", 0o644)
	b.idempotent(`file.template(h, "D/x", template = "x.tmpl", vars = dict(port = 5432))`)
	has(t, dir+"/x", "port = 5432\n", 0o644)
	b.fails(`file.template(h, "D/x", template = "x.tmpl")`, `x.tmpl:1: {{.port}}: no variable "port"`)
	b.fails(`file.template(h, "D/x", template = "y.tmpl")`, `no template "y.tmpl" in the project`)
	b.fails(`file.template(h, "D/x", template = "x.tmpl", vars = ["port"])`, `for parameter "vars": got list, want a dict`)
	b.run(`file.template(h, "D/secret", template = "x.tmpl", vars = {"port": secret("5432")})`)
	has(t, dir+"/secret", "port = 5432\n", 0o600)
	same(t, "diff", b.diff(), "--- D/secret\n+++ D/secret\n(content not shown: it holds a secret)\n")
}

func TestDirectory(t *testing.T) {
	b, dir := newBench(t)
	b.idempotent(`file.directory(h, "D/a/b/c", mode = "0700")`)
	for path, mode := range map[string]fs.FileMode{"/a": 0o755, "/a/b": 0o755, "/a/b/c": 0o700} {
		if fi, err := os.Stat(dir + path); err != nil || fi.Mode() != mode|fs.ModeDir {
			t.Errorf("%s: %v %v", path, fi.Mode(), err)
		}
	}
	b.idempotent(`file.directory(h, "D/a/b/c/", mode = "1777")`)
	if err := os.Symlink("a/b", dir+"/link"); err != nil {
		t.Fatal(err)
	}
	if b.run(`file.directory(h, "D/link")`).Changed() {
		t.Error("a link to a directory counts as none")
	}
	b.idempotent(`file.directory(h, "D/link", mode = "0711")`)
	if fi, _ := os.Stat(dir + "/a/b"); fi.Mode().Perm() != 0o711 {
		t.Errorf("the directory behind the link has mode %v", fi.Mode())
	}
	b.idempotent(`file.directory(h, "D/link/below")`)
	write(t, dir+"/file", "", 0o644)
	b.fails(`file.directory(h, "D/file")`, "path D/file is a file, where a directory is wanted")
	b.fails(`file.directory(h, "D/file/x")`, "not a directory")
	b.fails(`file.directory(h, "D/x/y", parents = False)`, "no directory D/x", "parents = True")
	if err := os.Symlink("nowhere", dir+"/dangling"); err != nil {
		t.Fatal(err)
	}
	b.fails(`file.directory(h, "D/dangling")`, "is a link to D/nowhere, which does not exist")
	if err := os.Symlink("loop", dir+"/loop"); err != nil {
		t.Fatal(err)
	}
	b.fails(`file.directory(h, "D/loop")`, "more than 40 links")
}

func TestLink(t *testing.T) {
	b, dir := newBench(t)
	b.idempotent(`file.link(h, "D/l", target = "/nowhere")`)
	b.check(`file.link(h, "D/l", target = "../else")`)
	same(t, "summary", b.summary(), "link D/l -> ../else (was /nowhere)")
	b.idempotent(`file.link(h, "D/l", target = "../else")`)
	write(t, dir+"/file", "x", 0o644)
	b.fails(`file.link(h, "D/file", target = "x")`, "path D/file is a file, where a link is wanted", "force = True")
	b.idempotent(`file.link(h, "D/file", target = "x", force = True)`)
	b.run(`file.directory(h, "D/dir")`)
	b.fails(`file.link(h, "D/dir", target = "x", force = True)`, "path D/dir is a directory")
	b.fails(`file.link(h, "D/l", target = "")`, "target is empty")
	b.fails(`file.link(h, "D/no/l", target = "x")`, "no directory D/no")
}

func TestAbsent(t *testing.T) {
	b, dir := newBench(t)
	if b.run(`file.absent(h, "D/nothing")`).Changed() {
		t.Error("removes nothing")
	}
	write(t, dir+"/full/x", "", 0o644)
	b.run(`file.directory(h, "D/empty")`)
	b.idempotent(`file.absent(h, "D/empty")`)
	b.fails(`file.absent(h, "D/full")`, "path D/full is a directory that is not empty (x)", "recursive = True")
	if err := os.Symlink("full", dir+"/link"); err != nil {
		t.Fatal(err)
	}
	b.idempotent(`file.absent(h, "D/link")`)
	b.idempotent(`file.absent(h, "D/full/", recursive = True)`)
	if _, err := os.Stat(dir + "/full"); err == nil {
		t.Error("still there")
	}
	b.fails(`file.absent(h, "/", recursive = True)`, "path is the root directory")
	b.fails(`file.absent(h, "//.", recursive = True)`, "path is the root directory")
	b.fails(`file.absent(h, "//..", recursive = True)`, "holds a ..")
}

func TestLine(t *testing.T) {
	b, dir := newBench(t)
	for _, test := range []struct{ name, before, args, after string }{
		{"added", "a\n", `line = "b"`, "a\nb\n"},
		{"there already", "b\na\n", `line = "b"`, "b\na\n"},
		{"last line without newline", "a", `line = "b"`, "a\nb\n"},
		{"to an empty file", "", `line = "b"`, "b\n"},
		{"match replaced", "#Port 22\nx\n", `line = "Port 2222", match = "^#?Port "`, "Port 2222\nx\n"},
		{"last match replaced", "k 1\nk 2\nx\n", `line = "k 3", match = "^k"`, "k 1\nk 3\nx\n"},
		{"replaced without newline", "a\nk 1", `line = "k 2", match = "^k"`, "a\nk 2"},
		{"no match, but the line", "x\nk = 1\n", `line = "x", match = "^y"`, "x\nk = 1\n"},
		{"no match", "x\n", `line = "y 1", match = "^y"`, "x\ny 1\n"},
		{"after", "[a]\n[b]\n", `line = "k", after = "^\\[a\\]$"`, "[a]\nk\n[b]\n"},
		{"after the last", "a\na\nb\n", `line = "k", after = "a"`, "a\na\nk\nb\n"},
		{"after nothing", "a\n", `line = "k", after = "z"`, "a\nk\n"},
		{"after a last line without newline", "a", `line = "k", after = "a"`, "a\nk\n"},
		{"before", "a\nb\nb\n", `line = "k", before = "b"`, "a\nk\nb\nb\n"},
		{"before nothing", "a\n", `line = "k", before = "z"`, "a\nk\n"},
		{"at the beginning", "a\n", `line = "k", before = ""`, "k\na\n"},
		{"match wins over after", "a\nk 1\n", `line = "k 2", match = "^k", after = "a"`, "a\nk 2\n"},
		{"line ends of DOS", "a\r\nk 1\r\n", `line = "k 2", match = "^k 1$"`, "a\r\nk 2\r\n"},
		{"added with those", "a\r\n", `line = "b"`, "a\r\nb\r\n"},
		{"no UTF-8", "\xff\nk 1\n", `line = "k 2", match = "^k"`, "\xff\nk 2\n"},
		{"absent", "a\nb\na\n", `line = "a", state = "absent"`, "b\n"},
		{"absent by match", "a 1\nb\na 2\n", `match = "^a", state = "absent"`, "b\n"},
		{"absent already", "b\n", `line = "a", state = "absent"`, "b\n"},
		{"empty line", "a\n", `line = ""`, "a\n\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			write(t, dir+"/x", test.before, 0o640)
			script := `file.line(h, "D/x", ` + test.args + `)`
			if changed := b.run(script).Changed(); changed != (test.before != test.after) {
				t.Errorf("changed: %t", changed)
			}
			has(t, dir+"/x", test.after, 0o640)
			if b.run(script).Changed() {
				t.Error("a second run changes it again")
			}
		})
	}
	if err := os.Symlink("x", dir+"/link"); err != nil {
		t.Fatal(err)
	}
	write(t, dir+"/x", "a\n", 0o644)
	b.idempotent(`file.line(h, "D/link", line = "b", mode = "0600")`)
	has(t, dir+"/x", "a\nb\n", 0o600)

	b.fails(`file.line(h, "D/y", line = "x")`, "no file D/y", "create = True")
	b.idempotent(`file.line(h, "D/y", line = "x", create = True, mode = "0600")`)
	has(t, dir+"/y", "x\n", 0o600)
	if b.run(`file.line(h, "D/none", line = "x", state = "absent")`).Changed() {
		t.Error("no line in no file is so already")
	}
	b.fails(`file.line(h, "D/x")`, "line is missing")
	b.fails(`file.line(h, "D/x", state = "absent")`, "line and match are both missing")
	b.fails(`file.line(h, "D/x", line = "a\nb")`, "line holds a line break")
	b.fails(`file.line(h, "D/x", line = "a", match = "(")`, "match is not a regular expression")
	b.fails(`file.line(h, "D/x", line = "a", state = "there")`, `for parameter "state": "there" is none of its values: present, absent`)
	b.fails(`file.line(h, "D/x", line = "a", after = "a", before = "b")`, "after and before are both given")
	b.fails(`file.line(h, "D/x", line = "a", state = "absent", after = "b")`, "after and before say where")
}

func TestLooks(t *testing.T) {
	b, dir := newBench(t)
	write(t, dir+"/x", "hello\n", 0o640)
	if err := os.Mkdir(dir+"/below", 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, dir+"/below/b", "", 0o640)
	write(t, dir+"/below/a", "", 0o640)
	b.run(`
if file.read(h, "D/x") != "hello\n": fail("read")
if file.list(h, "D/below") != ["a", "b"]: fail("list")
if file.hash(h, "D/x") != "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03": fail("hash")
s = file.stat(h, "D/x")
if (s.exists, s.kind, s.size, s.mode, s.target) != (True, "file", 6, "0640", ""): fail(s)
if s.mtime.year < 2020: fail(s.mtime)
s = file.stat(h, "D/none")
if s.exists or s.mtime != None: fail(s)
if file.stat(h, "/").kind != "directory": fail("root")
`)
	b.fails(`file.read(h, "D/none")`, "file.read", "D/none", "no such file")
	b.fails(`file.read(h, "x")`, `path "x" is not absolute`)
}

func TestDryRunBehindPendingChanges(t *testing.T) {
	b, _ := newBench(t)
	b.check(`
file.directory(h, "D/new")
file.content(h, "D/new/x", content = "x")
file.line(h, "D/new/x", line = "y")
`)
	if len(b.Events) != 3 {
		t.Fatalf("%d events, want 3", len(b.Events))
	}
	for _, e := range b.Events[1:] {
		if e.Status != "unknown" {
			t.Errorf("%s is %q: %v", e.Builtin, e.Status, e.Summary)
		}
	}
}
