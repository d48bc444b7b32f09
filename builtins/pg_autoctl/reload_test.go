package pgautoctl

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/pgrun/pgrun/runtime/transport"
)

// A file that PostgreSQL reads through links is as new as what they lead to, however many there are, and whatever directory is one.
func TestNewerBehindLinks(t *testing.T) {
	reader := transport.NewReader("here", transport.Local())
	t.Cleanup(func() { _ = reader.Close() })
	dir := t.TempDir()
	link := func(target, name string) {
		t.Helper()
		if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	for _, d := range []string{"live/x", "archive/x"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	cert := filepath.Join(dir, "archive/x/cert1.pem")
	if err := os.WriteFile(cert, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	link("../../archive/x/cert1.pem", "live/x/cert.pem")
	link("live/x", "pgtls")
	link("pgtls/cert.pem", "twice.pem")
	files := []string{filepath.Join(dir, "pgtls/cert.pem"), filepath.Join(dir, "twice.pem")}
	if got, err := (loaded{At: time.Now().Add(-time.Minute), Files: files}).newer(t.Context(), reader, ""); err != nil || !slices.Equal(got, files) {
		t.Errorf("the links are new: got %v, %v, want %v", got, err, files)
	}
	read := time.Now().Add(time.Hour)
	for changed, want := range map[time.Time][]string{read.Add(-time.Minute): nil, read.Add(time.Minute): files} {
		if err := os.Chtimes(cert, changed, changed); err != nil {
			t.Fatal(err)
		}
		got, err := loaded{At: read, Files: files}.newer(t.Context(), reader, "")
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("changed %v after they were read: got %v, %v, want %v", changed.Sub(read), got, err, want)
		}
	}
}
