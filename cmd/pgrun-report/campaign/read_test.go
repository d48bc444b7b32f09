package campaign

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const (
	goodCampaign = `{"version": 1, "seed": 42, "started": "2026-11-27T08:00:00Z", "faults": ["forced stop"], "cycles": 2,
		"versions": {"pgrun": "1"}, "settings": {}, "machine": "2 processors", "targets": [{"fault": "forced stop", "guard": true, "timers": "fast", "p50": 1.5}]}`
	goodCycle = `{"version": 1, "cycle": 1, "fault": "forced stop", "guard": true, "timers": "fast", "run": 0, "expected": ["failover"],
		"outcome": "failover", "ok": true, "why": "", "victim": "a", "primary": null, "began": "2026-11-27T08:00:01.250Z",
		"events": [{"at": -0.5, "who": "client", "what": "writes"}], "times": {"detected": null, "writable": 1.5},
		"acknowledged": 12, "indeterminate": 3, "lost": null, "overlapping": 0, "stale_reads": 0, "reads": 4, "gap": 1.5}`
)

func directory(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestRead(t *testing.T) {
	c, err := Read(directory(t, map[string]string{
		"campaign.json": goodCampaign, "cycle-0001.json": goodCycle, "cycle-0010.json": strings.Replace(goodCycle, `"cycle": 1`, `"cycle": 10`, 1),
		"cycle-0002.json.part": "{", "report.html": "", "summary.json": "{}",
	}))
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Cycles) != 2 || c.Cycles[1].Number != 10 || c.Cycles[0].Lost != nil || *c.Cycles[0].Times.Writable != 1.5 || c.Cycles[0].Times.Detected != nil ||
		c.Cycles[0].Began.Nanosecond() != 250_000_000 || *c.Targets[0].P50 != 1.5 {
		t.Errorf("%+v", c)
	}
}

func TestBadInputNamesFileAndField(t *testing.T) {
	for _, c := range []struct {
		name, file, old, new string
		want                 []string
	}{
		{"no campaign.json", "campaign.json", "", "", []string{"campaign.json: not there: this is not the directory of a campaign"}},
		{"no cycles", "cycle-0001.json", "", "", []string{"no cycle-NNNN.json in it"}},
		{"cut off", "cycle-0001.json", `"gap": 1.5}`, "", []string{"cycle-0001.json: it ends in its middle: if the campaign is still writing it, do this again"}},
		{"no JSON", "campaign.json", `"seed": 42`, `"seed": oops`, []string{"campaign.json: no JSON at byte 24"}},
		{"another version", "cycle-0001.json", `"version": 1`, `"version": 2, "new": 1`, []string{"cycle-0001.json: version: 2, and this pgrun-report reads 1"}},
		{"no version", "campaign.json", `"version": 1, `, "", []string{"campaign.json: version: not there"}},
		{"a type", "cycle-0001.json", `"writable": 1.5`, `"writable": "1.5"`, []string{"cycle-0001.json: times.writable: string, where a number is wanted"}},
		{"a type in a list", "cycle-0001.json", `"at": -0.5`, `"at": true`, []string{"cycle-0001.json: events", "at: bool, where a number is wanted"}},
		{"no number", "cycle-0001.json", `"acknowledged": 12`, `"acknowledged": 1.5`, []string{"acknowledged: number 1.5, where a whole number is wanted"}},
		{"a field that lacks", "cycle-0001.json", `"lost": null, `, "", []string{"cycle-0001.json: lost: not there"}},
		{"a field that lacks in a list", "cycle-0001.json", `"who": "client", `, "", []string{"cycle-0001.json: events[0].who: not there"}},
		{"null", "cycle-0001.json", `"guard": true`, `"guard": null`, []string{"cycle-0001.json: guard: null"}},
		{"a misspelled time", "cycle-0001.json", `"writable"`, `"writeable"`, []string{"cycle-0001.json: times.writeable: version 1 of the format has no such field"}},
		{"an outcome", "cycle-0001.json", `"outcome": "failover"`, `"outcome": "fail over"`, []string{`outcome: "fail over": one of failover, resumes by itself`, "not healthy"}},
		{"an expectation", "cycle-0001.json", `"expected": ["failover"]`, `"expected": ["not healthy"]`, []string{`expected[0]: "not healthy": one of`}},
		{"a negative count", "cycle-0001.json", `"indeterminate": 3`, `"indeterminate": -3`, []string{"indeterminate: -3: cannot be negative"}},
		{"a negative time", "cycle-0001.json", `"writable": 1.5`, `"writable": -1.5`, []string{"times.writable: -1.5: cannot be negative"}},
		{"more lost than there were", "cycle-0001.json", `"lost": null`, `"lost": 13`, []string{"lost: 13, of 12 acknowledged"}},
		{"no fault", "cycle-0001.json", `"fault": "forced stop"`, `"fault": " "`, []string{"fault: empty"}},
		{"another cycle", "cycle-0001.json", `"cycle": 1`, `"cycle": 3`, []string{"cycle-0001.json: cycle: 3, which is not that of the file's name"}},
		{"no plan", "campaign.json", `"cycles": 2`, `"cycles": 0`, []string{"campaign.json: cycles: 0: one at least"}},
		{"a time of day", "campaign.json", `2026-11-27T08:00:00Z`, `yesterday`, []string{`campaign.json: started: "yesterday" is no time as RFC 3339 has it`}},
		{"a target of what is none", "campaign.json", `"p50": 1.5`, `"p50": 1.5, "of": "pause"`, []string{`targets[0].of: "pause": one of writable, rejoin and gap`}},
		{"a target of nothing", "campaign.json", `, "p50": 1.5`, "", []string{"targets[0]: neither p50 nor max"}},
		{"a target of another fault", "campaign.json", `[{"fault": "forced stop"`, `[{"fault": "forced stops"`, []string{`targets[0].fault: "forced stops", which is not in faults`}},
		{"no object", "cycle-0001.json", goodCycle, "[]", []string{"cycle-0001.json: the whole: array, where an object is wanted"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			files := map[string]string{"campaign.json": goodCampaign, "cycle-0001.json": goodCycle}
			if c.old == "" {
				delete(files, c.file)
			} else {
				changed := strings.Replace(files[c.file], c.old, c.new, 1)
				if changed == files[c.file] {
					t.Fatalf("%s has no %s", c.file, c.old)
				}
				files[c.file] = changed
			}
			_, err := Read(directory(t, files))
			if err == nil {
				t.Fatal("no error")
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%v: no %q", err, want)
				}
			}
		})
	}
	if _, err := Read(filepath.Join(t.TempDir(), "away")); err == nil || !strings.Contains(err.Error(), "away: no such directory") {
		t.Errorf("%v", err)
	}
	if _, err := Read(directory(t, map[string]string{
		"campaign.json": goodCampaign, "cycle-1.json": goodCycle, "cycle-0001.json": goodCycle,
	})); err == nil || !strings.Contains(err.Error(), "two files of cycle 1") {
		t.Errorf("%v", err)
	}
}

func TestDocumentedFilesAreRead(t *testing.T) {
	doc, err := os.ReadFile("../../../docs/campaign.md")
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for _, name := range []string{"campaign.json", "cycle-0001.json"} {
		_, after, _ := strings.Cut(string(doc), "\n`"+name+"`:\n\n```json\n")
		files[name], _, _ = strings.Cut(after, "```")
	}
	if _, err := Read(directory(t, files)); err != nil {
		t.Error(err)
	}
}
