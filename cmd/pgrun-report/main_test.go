package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/pgrun/pgrun/cmd/pgrun-report/campaign"
)

// report runs the command, and returns its exit code and what it printed.
func report(args ...string) (code int, stdout, stderr string) {
	var out, errs strings.Builder
	code = run(args, &out, &errs)
	return code, out.String(), errs.String()
}

func content(t *testing.T, path ...string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(path...))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// PGRUN_REPORT_SAMPLE=DIRECTORY keeps the sample and its page, to look at them.
func TestLargeCampaign(t *testing.T) {
	dir := os.Getenv("PGRUN_REPORT_SAMPLE")
	if dir == "" {
		dir = t.TempDir()
	}
	sample(t, dir, 320)
	code, stdout, stderr := report(dir)
	if code != 0 || stderr != "" {
		t.Fatalf("%d, %s", code, stderr)
	}
	for _, want := range []string{
		"FAILED: 3 of ", " lost, in 1 of 320 cycles.\n", "4 of 320 cycles did not end as expected.",
		"in 3 cycles, of ", "cycle 37, ", "cycle 203, ", "2 overlapping commits", "Target of forced stop, fast timers, guarded, first write: ",
	} {
		if !strings.Contains(stdout, want) {
			t.Errorf("no %q in\n%s", want, stdout)
		}
	}
	html := content(t, dir, "report.html")
	if n := len(html); n > 3<<20 {
		t.Errorf("the page has %d bytes", n)
	}
	for _, outside := range []string{`(?i)(src|href)\s*=`, `(?i)url\(`, `(?i)@import`, `(?i)<script`, `(?i)<link`} {
		if found := regexp.MustCompile(outside).FindString(html); found != "" {
			t.Errorf("the page is not alone: %s", found)
		}
	}
	// A namespace is a name, and the only address that may be there.
	if n := strings.Count(html, "http"); n != strings.Count(html, `xmlns="http`) {
		t.Errorf("an address in the page")
	}
	if n := strings.Count(html, `<svg y="`); n != 320 {
		t.Errorf("%d timelines", n)
	}
	if strings.Contains(html, "#0001") || strings.Contains(html, "ZgotmplZ") {
		t.Errorf("a color or a value is left as a placeholder")
	}
	var sum campaign.Summary
	if err := json.Unmarshal([]byte(content(t, dir, "summary.json")), &sum); err != nil {
		t.Fatal(err)
	}
	if sum.Totals.Cycles != 320 || sum.Totals.Lost != 3 || sum.Totals.Unverified != 3 || len(sum.NotAsExpected) != 4 || sum.Passed {
		t.Errorf("%+v", sum.Totals)
	}
}

// cycle is a good one of the hostile campaign below.
func cycle(n int) campaign.Cycle {
	return campaign.Cycle{
		Version: 1, Number: n, Fault: hostile, Timers: "fast", Guard: true, Expected: []campaign.Outcome{campaign.Failover}, Outcome: campaign.Failover, OK: true,
		Victim: hostile, Primary: hostile, Why: hostile, Lost: new(int), Acknowledged: 10, Reads: 10,
		Events: []campaign.Event{{At: 0.5, Who: hostile, What: hostile}}, Times: campaign.Times{Writable: known(1.25), Rejoined: known(4)},
	}
}

const hostile = "<script>alert(1)</script>\"' onload=x </title></svg> & {{.}} \x1b[2J\nline"

func TestHostileStrings(t *testing.T) {
	dir := t.TempDir()
	store(t, dir, "campaign.json", campaign.Campaign{
		Version: 1, Started: time.Unix(1e9, 0), Faults: []string{hostile}, Planned: 2, Machine: hostile, Command: hostile,
		Versions: map[string]string{hostile: hostile}, Settings: map[string]string{hostile: hostile},
		Targets: []campaign.Target{{Fault: hostile, Timers: hostile, Max: known(1)}},
	})
	store(t, dir, "cycle-1.json", cycle(1))
	of := cycle(2)
	of.OK, of.Timers = false, hostile
	store(t, dir, "cycle-2.json", of)

	code, stdout, stderr := report(dir)
	if code != 0 || stderr != "" {
		t.Fatalf("%d, %s", code, stderr)
	}
	if strings.Contains(stdout, "\x1b") || strings.Contains(stdout, "\nline") {
		t.Errorf("what is in a file writes to the terminal:\n%q", stdout)
	}
	page := content(t, dir, "report.html")
	for _, not := range []string{"<script", "</title></svg>", "\"' onload"} {
		if strings.Contains(page, not) {
			t.Errorf("%q in the page", not)
		}
	}
	if !strings.Contains(page, "&lt;script&gt;alert(1)") {
		t.Errorf("the fault is not in the page")
	}
	// What is opened is closed, in its order.
	var open []string
	for _, tag := range regexp.MustCompile(`<(/?)([a-z0-9]+)[^>]*?(/?)>`).FindAllStringSubmatch(strings.TrimSuffix(page[strings.Index(page, "<body>"):], "</html>\n"), -1) {
		switch {
		case tag[3] == "/" || tag[2] == "br" || tag[2] == "line":
		case tag[1] == "":
			open = append(open, tag[2])
		case len(open) == 0 || open[len(open)-1] != tag[2]:
			t.Fatalf("%s closes %q", tag[0], open)
		default:
			open = open[:len(open)-1]
		}
	}
}

func TestExitCodes(t *testing.T) {
	dir := t.TempDir()
	store(t, dir, "campaign.json", campaign.Campaign{Version: 1, Started: time.Unix(1e9, 0), Faults: []string{hostile}, Planned: 1,
		Versions: map[string]string{}, Settings: map[string]string{}})
	good, bad := cycle(1), cycle(2)
	bad.Outcome = campaign.NoEffect
	store(t, dir, "cycle-0001.json", good)
	elsewhere := filepath.Join(t.TempDir(), "x.html")

	for _, c := range []struct {
		args []string
		code int
		want string // on the standard output or the standard error
	}{
		{[]string{dir, "--check"}, 0, "PASSED: 1 cycle, 10 acknowledged writes, none lost.\n"},
		{[]string{"-o", elsewhere, dir, "--json", elsewhere + ".json"}, 0, elsewhere},
		{nil, 3, "name one directory of a campaign, not 0"},
		{[]string{dir, dir}, 3, "not 2"},
		{[]string{dir, "--what"}, 3, "flag provided but not defined: -what"},
		{[]string{"--help"}, 0, "Usage: pgrun-report DIRECTORY"},
		{[]string{elsewhere}, 3, "x.html: "},
		{[]string{dir, "-o", filepath.Join(dir, "no", "where")}, 1, "-o names another place"},
	} {
		code, stdout, stderr := report(c.args...)
		if code != c.code || !strings.Contains(stdout+stderr, c.want) {
			t.Errorf("%q: %d\n%s%s", c.args, code, stdout, stderr)
		}
	}
	if _, err := os.Stat(elsewhere + ".json"); err != nil {
		t.Error(err)
	}

	store(t, dir, "cycle-0002.json", bad)
	if code, stdout, _ := report(dir); code != 0 || !strings.Contains(stdout, "FAILED: ") {
		t.Errorf("%d\n%s", code, stdout)
	}
	if code, stdout, _ := report(dir, "--check"); code != 1 || !strings.Contains(stdout, "cycle 2, ") || !strings.Contains(stdout, "no effect in place of failover") {
		t.Errorf("%d\n%s", code, stdout)
	}
}

func TestSmallTable(t *testing.T) {
	dir := t.TempDir()
	store(t, dir, "campaign.json", campaign.Campaign{Version: 1, Started: time.Unix(1e9, 0), Faults: []string{"forced stop"}, Planned: 3,
		Versions: map[string]string{}, Settings: map[string]string{}})
	for n, writable := range []float64{2.5, 1.25, 12} {
		c := cycle(n + 1)
		c.Fault, c.Why, c.Acknowledged, c.Indeterminate = "forced stop", "", 1000*(n+1), n
		c.Times = campaign.Times{Promoted: known(writable - 1), Writable: known(writable), Rejoined: known(writable + 10)}
		if n == 2 {
			c.Times.Rejoined, c.Lost = nil, nil
		}
		store(t, dir, fmt.Sprintf("cycle-%04d.json", n+1), c)
	}
	code, stdout, stderr := report(dir)
	// fault, n, expected; first write: least, p50, p95, max; promoted p50; rejoined p50, max; acknowledged, indeterminate, lost, overlapping, stale reads
	want := regexp.MustCompile(`(?m)^\| forced stop \| +3 \| failover \| +1.25 \| +2.50 \| +12.0 \| +12.0 \| +1.50 \| +11.2 \| +12.5 \| +6,000 \| +3 \| +0 \(1 \?\) \| +0 \| +0 \|$`)
	if code != 0 || !want.MatchString(stdout) {
		t.Errorf("%d\n%s%s", code, stdout, stderr)
	}
	row := regexp.MustCompile(`(?s)<tr><th>forced stop</th>.*?</tr>`).FindString(content(t, dir, "report.html"))
	var cells []string
	for _, c := range regexp.MustCompile(`(?s)<td[^>]*>(.*?)</td>`).FindAllStringSubmatch(row, -1) {
		cells = append(cells, strings.TrimSpace(regexp.MustCompile(`<[^>]*>`).ReplaceAllString(c[1], " ")))
	}
	if got := strings.Join(cells, "|"); got != "3|failover|1.25|2.50|12.0|12.0|1.50|11.2|12.5|–|6,000|3|0 1 not verified|0|0" {
		t.Error(got)
	}
}
