package apt

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pgrun/pgrun/runtime/host"
)

// dpkgOnly is a machine that has dpkg's files, and answers as dpkg-query does.
type dpkgOnly struct {
	host.Reader
	written map[string]time.Time
	listing string
	during  func() // happens while the listing is made
	long    bool   // the listing of all packages
	asked   [][]string
	kept    io.Closer
}

func (m *dpkgOnly) Stat(_ context.Context, path string) (host.Info, error) {
	return host.Info{ModTime: m.written[path]}, nil
}

func (m *dpkgOnly) Look(_ context.Context, c host.Command) (host.Output, error) {
	names := c.Argv[3:]
	m.asked = append(m.asked, names)
	if m.during != nil {
		m.during()
	}
	if m.long && slices.Equal(names, []string{"*"}) {
		return host.Output{Stdout: m.listing, Dropped: 1}, nil
	}
	return host.Output{Stdout: m.listing}, nil
}

func (m *dpkgOnly) Keep(_ any, open io.Closer, _ time.Duration) { m.kept = open }
func (m *dpkgOnly) Release()                                    { m.kept = nil }
func (m *dpkgOnly) Kept(...any) io.Closer {
	defer m.Release()
	return m.kept
}

// dpkg-query is asked once, and again when dpkg has written, be it by half.
func TestDatabaseIsKept(t *testing.T) {
	m := &dpkgOnly{written: map[string]time.Time{}}
	version := func() string {
		t.Helper()
		db, err := query(t.Context(), m, "hello")
		if err != nil {
			t.Fatal(err)
		}
		e, _ := db.get("hello")
		return e.version
	}
	for i, path := range []string{"/var/lib/dpkg/status", "/var/lib/dpkg/updates", "/var/lib/dpkg/triggers", "/var/lib/dpkg/status"} {
		want := string(rune('1' + i))
		m.listing = "dpkg\tamd64\tinstall\tok\tinstalled\t1\t\nhello\tamd64\tinstall\tok\tinstalled\t" + want + "\t\n"
		m.written[path] = time.Unix(int64(i+1), 0)
		for range 2 {
			if got := version(); got != want {
				t.Errorf("after dpkg has written %s the version is %q, want %q", path, got, want)
			}
		}
		if len(m.asked) != i+1 {
			t.Errorf("dpkg-query was asked %d times, want %d", len(m.asked), i+1)
		}
	}
	m.written["/var/lib/dpkg/status"] = time.Unix(100, 0)
	m.during = func() { m.written["/var/lib/dpkg/status"] = time.Unix(101, 0) }
	version()
	m.during, m.listing = nil, strings.ReplaceAll(m.listing, "\t4\t", "\t5\t")
	if got := version(); got != "5" {
		t.Errorf("after dpkg has written while it was asked, the version is %q, want 5", got)
	}
}

// A machine with more packages than can be listed is asked for some.
func TestDatabaseThatIsTooLong(t *testing.T) {
	m := &dpkgOnly{long: true}
	if _, err := query(t.Context(), m, "hello"); err != nil || !slices.Equal(m.asked[len(m.asked)-1], []string{"hello", "dpkg"}) {
		t.Errorf("asked for %q: %v", m.asked, err)
	}
	if _, err := query(t.Context(), m); !errors.Is(err, errTooLong) {
		t.Errorf("all of them: %v", err)
	}
}
