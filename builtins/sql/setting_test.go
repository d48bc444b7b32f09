package sql

import (
	"os"
	"path/filepath"
	"testing"
)

func TestSetting(t *testing.T) {
	b := newBench(t)
	for _, c := range []struct{ name, value, same, other string }{
		{"work_mem", "64MB", "65536kB", "32MB"},
		{"checkpoint_timeout", "10min", "600s", "11min"},
		{"random_page_cost", "1.1", "1.10", "1.2"},
		{"autovacuum", "off", "no", "on"},
		{"log_min_messages", "notice", "NOTICE", "warning"},
		{"log_line_prefix", "%m it's \\ ", "%m it's \\ ", "%m "},
		{"effective_cache_size", "1GB", "131072", "2GB"},
		{"wal_sender_timeout", "10s", "10000", "0.5min"},
		{"search_path", "app, public", `"app","public"`, "public"},
		{"TimeZone", "Europe/Berlin", "Europe/Berlin", "UTC"},
		{"application_name", "x", "x", "y"},
	} {
		set := func(value string) string {
			return `sql.setting(h, settings = {"` + c.name + `": ` + quoted(value) + `}, ${at})`
		}
		b.Idempotent(set(c.value))
		b.same(set(c.same))
		b.Idempotent(set(c.other))
		b.Idempotent(`sql.setting(h, reset = ["` + c.name + `"], ${at})`)
	}
	b.Check(`sql.setting(h, settings = {"work_mem": "64MB"}, ${at})`)
	b.summaryHas("set work_mem: 4MB -> 64MB")
	b.same(`sql.setting(h, settings = {"work_mem": "4096kB"}, ${at})`) // the default
}

func TestSettingPendingRestart(t *testing.T) {
	b := newBench(t)
	call := `sql.setting(h, settings = {"shared_preload_libraries": "pg_stat_statements, auto_explain", "max_connections": 50, "work_mem": "5MB"}, ${at})`
	const both = `["max_connections", "shared_preload_libraries"]`
	if r := b.Check("r = " + call + "\nr.pending_restart"); r.Value.String() != both {
		t.Error(r.Value)
	}
	b.gives("r = "+call+"\nr.pending_restart", both)
	b.gives("r = "+call+"\nr.pending_restart", both)
	b.same(call)
	b.Fails(`sql.setting(h, settings = {"pg_stat_statements.max": 200}, ${at})`, "knows no setting", "shared_preload_libraries")
	if err := b.server.Restart(); err != nil {
		t.Fatal(err)
	}
	b.psql("SHOW shared_preload_libraries", "pg_stat_statements, auto_explain")
	b.gives("r = "+call+"\nr.pending_restart", "[]")
	b.Idempotent(`sql.setting(h, settings = {"pg_stat_statements.max": 200}, ${at})`)
	// With these two loaded, secrets stay out of them as well.
	b.Run(`sql.extension(h, "pg_stat_statements", ${at})`)
	b.Run(`sql.exec(h, "COMMENT ON DATABASE postgres IS '" + secret("hunter2-in-a-comment") + "'", ${at})`)
	b.Run(`sql.exec(h, "COMMENT ON DATABASE postgres IS NULL", ${at})`)
	b.psql("SELECT count(*) FROM pg_stat_statements WHERE query LIKE 'COMMENT %'", "1")
	b.Run(`sql.setting(h, reset = ["shared_preload_libraries", "max_connections", "work_mem", "pg_stat_statements.max"], ${at})`)
	if err := b.server.Restart(); err != nil {
		t.Fatal(err)
	}
}

func TestSettingSeesOtherFiles(t *testing.T) {
	b := newBench(t)
	conf := filepath.Join(b.server.Dir, "data", "postgresql.conf")
	before, err := os.ReadFile(conf)
	if err != nil {
		t.Fatal(err)
	}
	write := func(content string) {
		t.Helper()
		if err := os.WriteFile(conf, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	defer func() { write(string(before)); b.reload() }()
	write(string(before) + "\nwork_mem = 7MB\n")
	b.Run(`sql.setting(h, settings = {"work_mem": "7MB"}, ${at})`) // only reloads
	b.summaryHas("reload")
	b.same(`sql.setting(h, settings = {"work_mem": "7MB"}, ${at})`)
	b.psql("SELECT count(*) FROM pg_file_settings WHERE sourcefile LIKE '%auto.conf' AND name = 'work_mem'", "0")
	b.Idempotent(`sql.setting(h, settings = {"work_mem": "6MB"}, ${at})`)
	if r := b.Run(`sql.setting(h, reset = ["wal_buffers", "max_stack_depth"], ${at})`); r.Changed() { // the server computes their defaults
		t.Error("a reset of what is set nowhere changes something")
	}
	b.Idempotent(`sql.setting(h, reset = ["work_mem"], ${at})`)
	b.psql("SHOW work_mem", "7MB")
	write(string(before) + "\nwork_mem = 7 bananas\n")
	b.Fails(`sql.setting(h, settings = {"maintenance_work_mem": "77MB"}, ${at})`, "cannot reload its configuration because of", "postgresql.conf, line")
	b.psql("SELECT count(*) FROM pg_file_settings WHERE name = 'maintenance_work_mem'", "0")
	write(string(before) + "\nwork_mem = '7 bananas'\n") // this only makes that one setting stay
	b.Idempotent(`sql.setting(h, settings = {"maintenance_work_mem": "77MB"}, ${at})`)
	b.Run(`sql.setting(h, reset = "maintenance_work_mem", ${at})`)

	write(string(before) + "\nmax_locks_per_transaction = 65\n")
	if err := b.server.Restart(); err != nil {
		t.Fatal(err)
	}
	write(string(before)) // only a restart gives it up, which keeps the server from nothing
	b.psql("SELECT count(*) FROM pg_file_settings WHERE error IS NOT NULL AND sourcefile IS NULL", "1")
	b.Idempotent(`sql.setting(h, settings = {"maintenance_work_mem": "78MB"}, ${at})`)
	b.Run(`sql.setting(h, reset = "maintenance_work_mem", ${at})`)
	if err := b.server.Restart(); err != nil {
		t.Fatal(err)
	}
}

func TestSettingErrors(t *testing.T) {
	b := newBench(t)
	b.Fails(`sql.setting(h, ${at})`, "settings: is empty")
	b.Fails(`sql.setting(h, settings = {"work_mem": "1MB"}, reset = ["work_mem"], ${at})`, "reset: work_mem is in settings, too")
	b.Fails(`sql.setting(h, settings = {"wrok_mem": "1MB"}, ${at})`, `settings: the server knows no setting "wrok_mem"`)
	b.Fails(`sql.setting(h, settings = {"work_mem": "much"}, ${at})`, "set work_mem", "much")
	b.Fails(`sql.setting(h, settings = {"server_version": "99"}, ${at})`, "cannot be set")
	b.Fails(`sql.setting(h, settings = {"log_statement": "none"}, ${at})`, "command line")
	b.same(`sql.setting(h, settings = {"log_statement": "all"}, ${at})`)
	b.Fails(`sql.setting(h, settings = {"primary_conninfo": secret("password=hunter2")}, ${at})`, "settings", "secret")
}
