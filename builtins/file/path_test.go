package file

import (
	"os"
	"testing"
)

// A line is changed in the file behind a link, which is called what it is called. A ".." is the parent that the kernel takes it for, behind links, too,
// and a neighbour that has the name in the text is left alone.
func TestLineBehindLinks(t *testing.T) {
	b, dir := newBench(t)
	for _, p := range []string{"/x", "/real/x", "/real/sub/x"} {
		write(t, dir+p, "a\n", 0o644)
	}
	b.run(`file.directory(h, "D/dir")
file.link(h, "D/dir/link", target = "../x")
file.link(h, "D/sub", target = "real/sub")
file.link(h, "D/real/sub/twice", target = "../sub/../sub/x")
file.link(h, "D/real/sub/link", target = "../x")
file.link(h, "D/real/sub/up", target = "../../x")
file.link(h, "D/absolute", target = "D//sub/./../x")
file.link(h, "D/chain", target = "sub/../sub/link")
file.link(h, "D/missing", target = "nonesuch/../x")
file.link(h, "D/through", target = "x/../x")
file.link(h, "D/ring", target = "ring/../x")`)
	for link, file := range map[string]string{
		"dir/link": "D/x", "sub/twice": "D/real/sub/x", "sub/link": "D/real/x", "real/sub/link": "D/real/x", "sub/up": "D/x", "real/sub/up": "D/x",
		"absolute": "D/real/x", "chain": "D/real/x",
	} {
		b.check(`file.line(h, "D/` + link + `", line = "b")`)
		same(t, "summary of "+link, b.summary(), "change "+file)
	}
	b.idempotent(`file.line(h, "D/sub/link", line = "b")`)
	has(t, dir+"/real/x", "a\nb\n", 0o644)
	has(t, dir+"/x", "a\n", 0o644)
	has(t, dir+"/real/sub/x", "a\n", 0o644)
	for link, why := range map[string]string{
		"missing":  "leads through D/nonesuch, which is no directory",
		"through":  "leads through D/x, which is no directory",
		"ring":     "path D/ring: more than 40 links",
		"sub/../x": "holds a ..",
	} {
		b.fails(`file.line(h, "D/`+link+`", line = "b")`, why)
	}

	// 40 links are followed, as the kernel does.
	write(t, dir+"/0", "a\n", 0o644)
	b.run(`[file.link(h, "D/%d" % n, target = "%d" % (n - 1)) for n in range(1, 42)]`)
	b.check(`file.line(h, "D/40", line = "b")`)
	same(t, "summary of 40 links", b.summary(), "change D/0")
	b.fails(`file.line(h, "D/41", line = "b")`, "path D/41: more than 40 links")
}

func TestDirectoryBehindLinks(t *testing.T) {
	b, dir := newBench(t)
	b.run(`[file.directory(h, "D/" + d, parents = True, mode = "0755") for d in ["d", "real/d", "real/sub"]]
file.link(h, "D/sub", target = "real/sub")
file.link(h, "D/real/sub/link", target = "../d")`)
	b.idempotent(`file.directory(h, "D/sub/link", mode = "0700")`)
	for p, mode := range map[string]os.FileMode{"/d": 0o755, "/real/d": 0o700} {
		info, err := os.Stat(dir + p)
		if err != nil || info.Mode().Perm() != mode {
			t.Errorf("%s: got %v, %v, want %v", p, info.Mode(), err, mode)
		}
	}
}
