package postgres

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgrun/pgrun/runtime/builtin"
	"github.com/pgrun/pgrun/runtime/host"
	"github.com/pgrun/pgrun/runtime/postgres/postgrestest"
)

var server postgrestest.Server

func TestMain(m *testing.M) { postgrestest.Main(m, &server) }

func local(t *testing.T) Target {
	server.Need(t)
	return Target{Socket: server.Dir, Port: server.Port}
}

func TestReadCannotWrite(t *testing.T) {
	target, ctx := local(t), t.Context()
	for _, statement := range []string{
		"CREATE TABLE written_by_a_look (n int)",
		"CREATE ROLE written_by_a_look",
		"ALTER SYSTEM SET work_mem = '5MB'",
		"DO $$ BEGIN COMMIT; CREATE TABLE written_by_a_look (n int); END $$",
	} {
		err := Read(ctx, server.Host, target, func(tx *Tx) error {
			_, err := tx.Exec(ctx, statement)
			return err
		})
		if err == nil {
			t.Errorf("a look could run %s", statement)
		}
	}
	conn, err := Connect(ctx, server.Host, target)
	if err != nil {
		t.Fatal(err)
	}
	defer HangUp(conn)
	if _, err := conn.Exec(ctx, "CREATE TABLE written_by_a_look (n int)"); Code(err) != readOnlyTransaction {
		t.Errorf("a read-only session wrote: %v", err)
	}
}

// keeper is the server's host, which keeps sessions.
type keeper struct {
	postgrestest.Dialer
	open map[any]io.Closer
}

func (k *keeper) Keep(key any, c io.Closer, _ time.Duration) { k.open[key] = c }

func (k *keeper) Kept(keys ...any) io.Closer {
	for _, key := range keys {
		if c, ok := k.open[key]; ok {
			delete(k.open, key)
			return c
		}
	}
	return nil
}

func (k *keeper) Release() {
	for key, c := range k.open {
		_ = c.Close()
		delete(k.open, key)
	}
}

// The next look at the same server has the session of the last, in which nothing of that is left.
func TestSessionIsKept(t *testing.T) {
	target, ctx := local(t), t.Context()
	h := &keeper{server.Host, map[any]io.Closer{}}
	defer h.Release()
	read := func(target Target, query string) (answer int) {
		t.Helper()
		err := Read(ctx, h, target, func(tx *Tx) error { return tx.QueryRow(ctx, query).Scan(&answer) })
		if err != nil {
			t.Fatal(err)
		}
		return answer
	}
	first := read(target, "SELECT pg_backend_pid() FROM pg_advisory_lock(1)")
	target.Database = DefaultDatabase
	if second := read(target, "SELECT pg_backend_pid()"); second != first {
		t.Errorf("the same server by another name had the session %d, not %d", second, first)
	}
	if locks := read(target, "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"); locks != 0 {
		t.Errorf("%d locks are left", locks)
	}
	other, either := target, target
	other.Database, either.Database, either.OrDatabase = "template1", "other", DefaultDatabase
	if second := read(either, "SELECT pg_backend_pid()"); second != first {
		t.Errorf("a look that either database does for had the session %d, not %d", second, first)
	}
	if second := read(other, "SELECT pg_backend_pid()"); second == first {
		t.Errorf("another database had the session %d", second)
	}
	if second := read(target, "SELECT pg_backend_pid()"); second != first {
		t.Errorf("after looks at another database it had the session %d, not %d", second, first)
	}
	server.Psql(t, fmt.Sprintf("SELECT pg_terminate_backend(%d, 10000)", first))
	if second := read(target, "SELECT pg_backend_pid()"); second == first {
		t.Errorf("the session %d answered after its end", second)
	}
	first = read(target, "SELECT pg_backend_pid()")
	err := Write(ctx, h, target, func(conn *pgx.Conn) error { return nil })
	if third := read(target, "SELECT pg_backend_pid()"); err != nil || third == first {
		t.Errorf("the session %d outlived a write (%v)", third, err)
	}
}

// A session that breaks while it is kept, a look that fails and one that leaves rows behind do no harm to the next.
func TestSessionThatIsKeptBreaks(t *testing.T) {
	target, ctx := local(t), t.Context()
	h := &keeper{server.Host, map[any]io.Closer{}}
	defer h.Release()
	pid := func() (pid int) {
		t.Helper()
		err := Read(ctx, h, target, func(tx *Tx) error { return tx.QueryRow(ctx, "SELECT pg_backend_pid()").Scan(&pid) })
		if err != nil {
			t.Fatal(err)
		}
		return pid
	}
	prepared := func(query string) error {
		return Read(ctx, h, target, func(tx *Tx) error {
			statement, err := tx.Prepare(ctx, query)
			if err != nil {
				return err
			}
			result := tx.Execute(ctx, statement, nil)
			result.NextRow()
			if result.NextRow() {
				tx.Drop()
				return nil
			}
			_, err = result.Close()
			return err
		})
	}
	for what, look := range map[string]func() error{
		"a statement that is prepared": func() error { return prepared("SELECT 1") },
		"rows that are left":           func() error { return prepared("SELECT * FROM generate_series(1, 100000)") },
		"one that does not parse":      func() error { return prepared("SELECT nonsense") },
		"one that fails": func() error {
			return Read(ctx, h, target, func(tx *Tx) error { return tx.QueryRow(ctx, "SELECT 1 / 0").Scan(new(int)) })
		},
		"one that fails after another": func() error {
			return Read(ctx, h, target, func(tx *Tx) error {
				if _, err := tx.Exec(ctx, "SELECT 1"); err != nil {
					return err
				}
				_, err := tx.Exec(ctx, "SELECT 1 / 0")
				return err
			})
		},
	} {
		fails := strings.HasPrefix(what, "one ")
		server.Psql(t, fmt.Sprintf("SELECT pg_terminate_backend(%d, 10000)", pid()))
		for _, when := range []string{"on a session that was ended", "again"} {
			if err := look(); (err != nil) != fails {
				t.Errorf("%s, %s: %v", what, when, err)
			}
			pid()
			if err := Write(ctx, h, target, func(conn *pgx.Conn) error { return nil }); err != nil {
				t.Errorf("%s, %s: the write after it: %v", what, when, err)
			}
			pid()
		}
	}
	server.Psql(t, "CREATE DATABASE lost")
	target.Database = "lost"
	pid()
	server.Psql(t, "DROP DATABASE lost WITH (FORCE)")
	err := Read(ctx, h, target, func(tx *Tx) error { return tx.QueryRow(ctx, "SELECT 1").Scan(new(int)) })
	if err == nil || !strings.Contains(err.Error(), `connecting to PostgreSQL at `) || !strings.Contains(err.Error(), "create it with sql.database") {
		t.Errorf("a database that is gone: %v", err)
	}
}

func TestWrite(t *testing.T) {
	target, ctx := local(t), t.Context()
	var name, zone string
	err := Write(ctx, server.Host, target, func(conn *pgx.Conn) error {
		if _, err := conn.Exec(ctx, "CREATE TEMP TABLE t (n int)"); err != nil {
			return err
		}
		return conn.QueryRow(ctx, "SELECT current_setting('application_name'), current_setting('timezone')").Scan(&name, &zone)
	})
	if err != nil || name != "pgrun" || zone != "UTC" {
		t.Errorf("got %q, %q, %v", name, zone, err)
	}
}

func TestTheOperatorsEnvironmentDoesNotMatter(t *testing.T) {
	target := local(t)
	for _, v := range []string{"PGHOST", "PGUSER", "PGPASSWORD", "PGDATABASE", "PGOPTIONS", "PGAPPNAME", "PGTZ"} {
		t.Setenv(v, "nonsense")
	}
	t.Setenv("PGPORT", "1")
	t.Setenv("PGSSLMODE", "verify-full")
	t.Setenv("PGTARGETSESSIONATTRS", "standby")
	t.Setenv("PGREQUIREAUTH", "md5")
	if err := Read(t.Context(), server.Host, target, func(*Tx) error { return nil }); err != nil {
		t.Error(err)
	}
}

func TestURI(t *testing.T) {
	local(t)
	ctx := t.Context()
	server.Psql(t, "DROP DATABASE IF EXISTS uri; DROP ROLE IF EXISTS uri; CREATE ROLE uri LOGIN PASSWORD 'p@ss/word?'; CREATE DATABASE uri OWNER uri")
	for _, viaHost := range []bool{false, true} {
		for _, uri := range []string{
			fmt.Sprintf("postgres://uri:p%%40ss%%2Fword%%3F@127.0.0.1:%d/uri?sslmode=disable", server.Port),
			fmt.Sprintf("postgresql://uri:p%%40ss%%2Fword%%3F@/uri?host=%s&port=%d", server.Dir, server.Port),
			fmt.Sprintf("postgres://uri:p%%40ss%%2Fword%%3F@127.0.0.1:1,127.0.0.1:%d/uri?sslmode=disable&target_session_attrs=read-write", server.Port),
		} {
			target := Target{URI: builtin.Plain(uri), ViaHost: viaHost}
			var who, what string
			err := Read(ctx, server.Host, target, func(tx *Tx) error {
				return tx.QueryRow(ctx, "SELECT current_user, current_database()").Scan(&who, &what)
			})
			if err != nil || who != "uri" || what != "uri" {
				t.Errorf("%s: %q in %q, %v", uri, who, what, err)
			}
		}
	}
}

// What a hostile server says of a message's length is not believed.
func TestMessageWithoutEnd(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			_, _ = conn.Write([]byte{'R', 0x30, 0, 0, 0, 0, 0, 0, 0})
		}
	}()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	uri := builtin.Plain("postgres://a:hunter2hunter2@" + listener.Addr().String() + "/postgres?sslmode=disable&connect_timeout=5")
	err = Read(t.Context(), server.Host, Target{URI: uri}, func(*Tx) error { return nil })
	runtime.ReadMemStats(&after)
	if err == nil || !strings.Contains(err.Error(), "invalid body length") {
		t.Error(err)
	}
	if took := after.TotalAlloc - before.TotalAlloc; took > 4*host.MaxRead {
		t.Errorf("it took %d bytes to refuse", took)
	}
}

func TestConnectErrors(t *testing.T) {
	here := local(t)
	server.Psql(t, "DROP ROLE IF EXISTS wrong; CREATE ROLE wrong LOGIN PASSWORD 'right'")
	empty := t.TempDir()
	stale := t.TempDir()
	if err := os.WriteFile(stale+"/.s.PGSQL.5432", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0") // connections stay in its queue
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	silent := listener.Addr().String()
	uri := func(format string, args ...any) Target {
		return Target{URI: builtin.Plain(fmt.Sprintf(format, args...))}
	}
	for _, c := range []struct {
		name    string
		target  Target
		missing bool
		want    []string
	}{
		{"no socket", Target{Socket: empty}, true, []string{"no such file", empty, "not running"}},
		{"stale socket", Target{Socket: stale}, true, []string{"refused"}},
		{"relative socket", Target{Socket: "run"}, false, []string{"socket:", "absolute"}},
		{"no database", Target{Socket: here.Socket, Port: here.Port, Database: "nowhere"}, true, []string{`"nowhere"`, "sql.database"}},
		{"no password on the socket", Target{Socket: here.Socket, Port: here.Port, Role: "wrong"}, true, []string{"local all postgres peer"}},
		{"wrong password", uri("postgres://wrong:hunter2hunter2@127.0.0.1:%d/postgres?sslmode=disable", here.Port), true, []string{"another password"}},
		{"nobody listens", uri("postgres://wrong:hunter2hunter2@127.0.0.1:1/postgres?sslmode=disable"), true, []string{"connection refused"}},
		{"no TLS there", uri("postgres://wrong:hunter2hunter2@127.0.0.1:%d/postgres?sslmode=require", here.Port), false, []string{"TLS"}},
		{"no CA file", uri("postgres://wrong:hunter2hunter2@127.0.0.1/postgres?sslmode=verify-full&sslrootcert=/nowhere.pem"), false, []string{"/nowhere.pem"}},
		{"bad port", uri("postgres://wrong:hunter2hunter2@127.0.0.1:port/postgres"), false, []string{"uri: not a connection URI"}},
		{"unescaped password", uri("postgres://wrong:hunter2hunter2%%zz@127.0.0.1/postgres"), false, []string{"percent-encoded"}},
		{"no URI", uri("host=127.0.0.1 password=hunter2hunter2"), false, []string{"uri: not a connection URI"}},
		{"nobody answers", uri("postgres://wrong:hunter2hunter2@%s/postgres?connect_timeout=1&sslmode=disable", silent), false, []string{silent, "no answer within 1s"}},
		{"several", uri("postgres://wrong:hunter2hunter2@127.0.0.1:1,127.0.0.1:%d/postgres?sslmode=disable", here.Port), true, []string{"and 1 more", "refused", "password authentication failed"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			started := time.Now()
			err := Read(t.Context(), server.Host, c.target, func(*Tx) error { return nil })
			if err == nil {
				t.Fatal("no error")
			}
			t.Log(err)
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("want %q in: %v", want, err)
				}
			}
			if strings.Contains(err.Error(), "hunter2") {
				t.Errorf("the password is in the error: %v", err)
			}
			if host.Missing(err) != c.missing {
				t.Errorf("missing is %v: %v", !c.missing, err)
			}
			if took := time.Since(started); took > 5*time.Second {
				t.Errorf("took %s", took)
			}
		})
	}
}

func TestExplain(t *testing.T) {
	target, ctx := local(t), t.Context()
	var explained *Error
	run := func(statement string) error {
		return Read(ctx, server.Host, target, func(tx *Tx) error {
			_, err := tx.Exec(ctx, statement)
			if err != nil {
				err = fmt.Errorf("counting: %w", err)
			}
			return err
		})
	}
	err := run("SELECT * FROM nowhere")
	if !errors.As(err, &explained) || !errors.Is(err, fs.ErrNotExist) || !strings.HasPrefix(err.Error(), `counting: relation "nowhere" does not exist`) {
		t.Error(err)
	}
	if err := run("SELEC"); host.Missing(err) || !strings.Contains(err.Error(), "syntax error") {
		t.Error(err)
	}
	if err := run("CREATE TABLE t (n int)"); !strings.Contains(err.Error(), "on the primary") {
		t.Error(err)
	}
}

func TestDeadline(t *testing.T) {
	target := local(t)
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	started := time.Now()
	err := Write(ctx, server.Host, target, func(conn *pgx.Conn) error {
		_, err := conn.Exec(ctx, "SELECT pg_sleep(60)")
		return err
	})
	if !errors.Is(err, context.DeadlineExceeded) || time.Since(started) > 2*time.Second {
		t.Errorf("%v after %s", err, time.Since(started))
	}
	for range 100 { // the cancel request ends the statement, too, not only the connection
		if server.Psql(t, "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(60)%' AND application_name = 'pgrun'") == "0" {
			return
		}
	}
	t.Error("the statement still runs on the server")
}

// silent is a host whose server takes connections, and says nothing.
type silent struct{ host.Reader }

func (silent) Dial(ctx context.Context, _, _, _ string) (net.Conn, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

func TestLimitsThatNobodyWrote(t *testing.T) {
	look := func(ctx context.Context) error {
		return Read(ctx, silent{}, Target{}, func(*Tx) error { return nil })
	}
	synctest.Test(t, func(t *testing.T) {
		if err := look(t.Context()); err == nil || errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "no answer in time (10s at most)") {
			t.Errorf("connecting: %v", err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := look(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("the caller's own: %v", err)
		}
		limited, cancel := withDeadline(t.Context())
		defer cancel()
		<-limited.Done()
		if err := ended(limited, fmt.Errorf("counting: %w", limited.Err())); err == nil || errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "give timeout") {
			t.Errorf("a statement: %v", err)
		}
	})
}

func TestLostConnection(t *testing.T) {
	target, ctx := local(t), t.Context()
	err := Write(ctx, server.Host, target, func(conn *pgx.Conn) error {
		_, err := conn.Exec(ctx, "SELECT pg_terminate_backend(pg_backend_pid())")
		return err
	})
	if err == nil || !strings.Contains(err.Error(), "not known") {
		t.Error(err)
	}
	err = Write(ctx, server.Host, target, func(conn *pgx.Conn) error {
		_ = conn.PgConn().Conn().Close()
		_, err := conn.Exec(ctx, "SELECT 1")
		return err
	})
	if err == nil || !strings.Contains(err.Error(), "lost") {
		t.Error(err)
	}
}

func TestQuoteText(t *testing.T) {
	target, ctx := local(t), t.Context()
	texts := []string{"", "plain", "it's", `back\slash`, `\'; DROP TABLE x; --`, "new\nline", "$1", "ü😀", `E'\\'`}
	for _, conforming := range []string{"on", "off"} {
		err := Read(ctx, server.Host, target, func(tx *Tx) error {
			if _, err := tx.Exec(ctx, "SET LOCAL standard_conforming_strings = "+conforming); err != nil {
				return err
			}
			for _, text := range texts {
				var back string
				if err := tx.QueryRow(ctx, "SELECT"+" "+QuoteText(text)).Scan(&back); err != nil || back != text {
					t.Errorf("%q came back as %q, %v", text, back, err)
				}
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	}
}

func BenchmarkRead(b *testing.B) {
	server.Need(b)
	target := Target{Socket: server.Dir, Port: server.Port}
	for b.Loop() {
		err := Read(b.Context(), server.Host, target, func(tx *Tx) error {
			var n int
			return tx.QueryRow(b.Context(), "SELECT 1").Scan(&n)
		})
		if err != nil {
			b.Fatal(err)
		}
	}
}
