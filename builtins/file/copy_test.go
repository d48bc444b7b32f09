package file

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestCopyFile(t *testing.T) {
	b, dir := newBench(t)
	write(t, b.Dir+"/tool", "#!/bin/sh\n", 0o755)
	b.idempotent(`file.copy(h, "D/tool", source = "tool")`)
	has(t, dir+"/tool", "#!/bin/sh\n", 0o755)
	write(t, b.Dir+"/tool", "#!/bin/sx\n", 0o644) // of the same size
	b.check(`file.copy(h, "D/tool", source = "tool")`)
	if !strings.Contains(b.diff(), "-#!/bin/sh\n+#!/bin/sx\n") {
		t.Errorf("diff: %s", b.diff())
	}
	b.idempotent(`file.copy(h, "D/tool", source = "tool")`)
	has(t, dir+"/tool", "#!/bin/sx\n", 0o755)
	b.idempotent(`file.copy(h, "D/tool", source = "tool", mode = "0700")`)
	b.fails(`file.copy(h, "D/x", source = "none")`, `source: no file or directory "none" in the project`)
	b.fails(`file.copy(h, "D/x", source = "../out")`, "source", "outside of the project")
	b.fails(`file.copy(h, "D/x", source = "tool", directory_mode = "0755")`, "directory_mode is for directories")
	b.fails(`file.copy(h, "D/x/", source = "tool")`, "ends with /")
	b.fails(`file.copy(h, "D/no/x", source = "tool")`, "no directory D/no")
	b.run(`file.directory(h, "D/dir")`)
	b.fails(`file.copy(h, "D/dir", source = "tool")`, "path D/dir is a directory")
}

func TestCopyTree(t *testing.T) {
	b, dir := newBench(t)
	write(t, b.Dir+"/tree/a", "a\n", 0o644)
	write(t, b.Dir+"/tree/sub/deep/b", "b\n", 0o755)
	write(t, b.Dir+"/tree/sub/c", "c\n", 0o644)
	if err := os.Symlink("a", b.Dir+"/tree/link"); err != nil {
		t.Fatal(err)
	}
	b.check(`file.copy(h, "D/t", source = "tree")`)
	same(t, "summary", b.summary(), "create directory D/t\ncreate directory D/t/sub\ncreate directory D/t/sub/deep\n"+
		"create D/t/a (2 bytes)\ncreate D/t/link (2 bytes)\ncreate D/t/sub/c (2 bytes)\ncreate D/t/sub/deep/b (2 bytes, mode 0755)")
	b.idempotent(`file.copy(h, "D/t", source = "tree")`)
	has(t, dir+"/t/a", "a\n", 0o644)
	has(t, dir+"/t/link", "a\n", 0o644)
	has(t, dir+"/t/sub/deep/b", "b\n", 0o755)

	write(t, dir+"/t/extra", "stays\n", 0o644)
	write(t, dir+"/t/sub/c", "C\n", 0o600)
	if err := os.RemoveAll(dir + "/t/sub/deep"); err != nil {
		t.Fatal(err)
	}
	b.check(`file.copy(h, "D/t", source = "tree")`)
	same(t, "summary", b.summary(), "create directory D/t/sub/deep\nchange D/t/sub/c (2 bytes -> 2 bytes)\ncreate D/t/sub/deep/b (2 bytes, mode 0755)")
	b.idempotent(`file.copy(h, "D/t", source = "tree")`)
	has(t, dir+"/t/sub/c", "c\n", 0o600)
	has(t, dir+"/t/extra", "stays\n", 0o644)

	b.idempotent(`file.copy(h, "D/t", source = "tree", mode = "0640", directory_mode = "0750")`)
	has(t, dir+"/t/sub/deep/b", "b\n", 0o640)
	if fi, _ := os.Stat(dir + "/t/sub/deep"); fi.Mode().Perm() != 0o750 {
		t.Errorf("directory's mode %v", fi.Mode())
	}
	has(t, dir+"/t/extra", "stays\n", 0o644)

	write(t, dir+"/u/sub", "a file\n", 0o644)
	b.fails(`file.copy(h, "D/u", source = "tree")`, "path D/u/sub is a file, where a directory is wanted")
	b.run(`file.directory(h, "D/v/a")`)
	b.fails(`file.copy(h, "D/v", source = "tree")`, "path D/v/a is a directory, where a file is wanted")
	if err := os.Symlink("sub", b.Dir+"/tree/dirlink"); err != nil {
		t.Fatal(err)
	}
	b.fails(`file.copy(h, "D/w", source = "tree")`, "source: tree/dirlink is neither a file, a directory nor a link to a file")
}

func TestCopyLargeAndMany(t *testing.T) {
	b, dir := newBench(t)
	// Larger than what a single read may return.
	large := bytes.Repeat([]byte("0123456789abcde\n"), 20<<20/16)
	if err := os.WriteFile(b.Dir+"/large", large, 0o644); err != nil {
		t.Fatal(err)
	}
	for i := range 1000 {
		write(t, filepath.Join(b.Dir, "many", string(rune('a'+i%10)), strings.Repeat("x", i/10+1)), "content\n", 0o644)
	}
	b.idempotent(`file.copy(h, "D/large", source = "large")`)
	if fi, err := os.Stat(dir + "/large"); err != nil || fi.Size() != int64(len(large)) {
		t.Errorf("%v %v", fi, err)
	}
	b.check(`file.copy(h, "D/many", source = "many")`)
	if s := b.Summary(); len(s) != maxLines+1 || s[maxLines] != "and 991 more changes" {
		t.Errorf("summary of %d lines, the last %q", len(s), s[len(s)-1])
	}
	b.idempotent(`file.copy(h, "D/many", source = "many")`)
}
