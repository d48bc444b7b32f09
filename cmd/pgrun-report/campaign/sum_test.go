package campaign

import (
	"slices"
	"strings"
	"testing"
)

func TestPercentilesAreNearestRank(t *testing.T) {
	// Hand-computed: of 20, p95 is the 19th, p50 the 10th, p25 the 5th, p75 the 15th.
	var twenty []float64
	for i := 20; i > 0; i-- {
		twenty = append(twenty, float64(i))
	}
	for _, c := range []struct {
		figures []float64
		want    Spread
	}{
		{[]float64{3}, Spread{1, 3, 3, 3, 3, 3, 3}},
		{[]float64{2, 1}, Spread{2, 1, 1, 1, 2, 2, 2}},
		{[]float64{1.4, 1.2, 9, 1.3}, Spread{4, 1.2, 1.2, 1.3, 1.4, 9, 9}},
		{twenty, Spread{20, 1, 5, 10, 15, 19, 20}},
	} {
		if got := SpreadOf(c.figures); *got != c.want {
			t.Errorf("%v: %+v", c.figures, *got)
		}
	}
	if SpreadOf(nil) != nil {
		t.Error("a spread of nothing")
	}
}

func known(f float64) *float64 { return &f }

// small is a campaign of which all can be computed by hand.
func small() *Campaign {
	cycle := func(n int, guard bool, writable float64) Cycle {
		c := Cycle{
			Number: n, Fault: "forced stop", Guard: guard, Timers: "fast", Expected: []Outcome{Failover}, Outcome: Failover, OK: true,
			Acknowledged: 100 * n, Indeterminate: n, Lost: new(int), Reads: 1000,
		}
		c.Times = Times{Promoted: known(writable / 2), Writable: known(writable), Rejoined: known(writable + 5)}
		return c
	}
	c := &Campaign{Planned: 5, Seed: 7, Faults: []string{"never done", "forced stop"}, Cycles: []Cycle{
		cycle(1, true, 2), cycle(2, true, 1), cycle(3, true, 4), cycle(4, false, 9), cycle(5, true, 3),
	}}
	c.Cycles[3].Times.Promoted = nil
	return c
}

func TestSum(t *testing.T) {
	s := small().Sum()
	if !s.Passed || s.Verdict != "5 cycles, 1,500 acknowledged writes, none lost" || !slices.Equal(s.Remarks, []string{"Every cycle ended as expected."}) {
		t.Errorf("%v: %s; %q", s.Passed, s.Verdict, s.Remarks)
	}
	if s.Command != "pgrun failover_campaign.star -e seed=7" {
		t.Error(s.Command)
	}
	if len(s.Groups) != 2 || s.Groups[0].String() != "fast timers, guarded" || s.Groups[1].String() != "fast timers, not guarded" {
		t.Fatalf("%+v", s.Groups)
	}
	guarded, not := s.Groups[0].Cells[0], s.Groups[1].Cells[0]
	if guarded.N != 4 || guarded.Acknowledged != 1100 || guarded.Indeterminate != 11 || guarded.AsExpected != 4 {
		t.Errorf("%+v", guarded)
	}
	if want := (Spread{4, 1, 1, 2, 3, 4, 4}); *guarded.RTO != want {
		t.Errorf("%+v", *guarded.RTO)
	}
	if guarded.Promoted.P50 != 1 || guarded.Rejoined.P50 != 7 || guarded.Rejoined.Max != 9 {
		t.Errorf("%+v, %+v", *guarded.Promoted, *guarded.Rejoined)
	}
	if not.N != 1 || not.Promoted != nil || not.RTO.P50 != 9 || not.Gap != nil {
		t.Errorf("%+v", not)
	}
}

func TestVerdicts(t *testing.T) {
	for _, c := range []struct {
		name    string
		change  func(c *Campaign)
		verdict string
		remarks string
		passed  bool
	}{
		{"lost", func(c *Campaign) { c.Cycles[1].Lost = new(3) },
			"3 of 1,500 acknowledged writes lost, in 1 of 5 cycles", "1 of 5 cycles did not end as expected.", false},
		{"not verified", func(c *Campaign) { c.Cycles[4].Lost = nil },
			"5 cycles, 1,500 acknowledged writes: none lost of the 1,000 that could be verified",
			"Every cycle ended as expected. Whether writes were lost could not be verified in 1 cycle, of 500 acknowledged writes.", true},
		{"nothing verified", func(c *Campaign) {
			for i := range c.Cycles {
				c.Cycles[i].Lost = nil
			}
		}, "5 cycles, 1,500 acknowledged writes: whether any was lost could not be verified",
			"Every cycle ended as expected. Whether writes were lost could not be verified in 5 cycles, of 1,500 acknowledged writes.", false},
		{"overlapping", func(c *Campaign) { c.Cycles[0].Overlapping = 1 },
			"5 cycles, 1,500 acknowledged writes, none lost",
			"1 of 5 cycles did not end as expected. 1 acknowledged commit overlapped, in 1 cycle: for a time two servers took writes.", false},
		{"stale", func(c *Campaign) { c.Cycles[0].StaleReads, c.Cycles[1].StaleReads = 4, 5 },
			"5 cycles, 1,500 acknowledged writes, none lost", "Every cycle ended as expected. 9 of 5,000 reads stale, in 2 cycles.", true},
		{"cut off", func(c *Campaign) {
			c.Planned = 100
			c.Cycles[4].Number = 9
		}, "5 cycles, 1,500 acknowledged writes, none lost",
			"Every cycle ended as expected. 5 of 100 planned cycles were done: it was cut off, or still runs. There are no files of 4 cycles: 5 to 8.", true},
	} {
		campaign := small()
		c.change(campaign)
		s := campaign.Sum()
		if remarks := strings.Join(s.Remarks, " "); s.Verdict != c.verdict || remarks != c.remarks || s.Passed != c.passed {
			t.Errorf("%s: %v: %s; %s", c.name, s.Passed, s.Verdict, remarks)
		}
	}
}

func TestNotOK(t *testing.T) {
	for _, c := range []struct {
		cycle Cycle
		want  string
	}{
		{Cycle{OK: true, Expected: []Outcome{Failover}, Outcome: Failover}, ""},
		{Cycle{Expected: []Outcome{Failover}, Outcome: NotHealthy, Why: "no primary"}, "no primary"},
		{Cycle{Expected: []Outcome{Failover}, Outcome: NotHealthy}, "not healthy in place of failover"},
		{Cycle{Expected: []Outcome{Failover}, Outcome: Failover}, "the campaign calls it not ok, and says no reason"},
		{Cycle{OK: true, Expected: []Outcome{NoEffect}, Outcome: Failover}, "failover in place of no effect"},
		{Cycle{OK: true, Expected: []Outcome{Failover}, Outcome: Failover, Lost: new(1), StaleReads: 2}, "1 acknowledged write lost"},
	} {
		if got := c.cycle.NotOK(); got != c.want {
			t.Errorf("%+v: %q", c.cycle, got)
		}
	}
}

func TestTargets(t *testing.T) {
	campaign := small()
	of := func(guard bool, p50, most *float64) Target {
		return Target{Fault: "forced stop", Guard: guard, Timers: "fast", P50: p50, Max: most}
	}
	campaign.Targets = []Target{
		of(true, known(2), known(4)), of(true, known(1.9), nil), of(true, nil, known(3.9)),
		{Fault: "never done", Timers: "fast", P50: known(1)},
	}
	want := []Kept{Met, Missed, Missed, NotMeasured}
	s := campaign.Sum()
	for i, r := range s.Targets {
		if r.Outcome != want[i] {
			t.Errorf("%+v", r)
		}
	}
	if said := strings.Join(s.Remarks, " "); !strings.Contains(said, "2 of 4 targets missed. 1 of 4 targets not measured.") || !s.Passed {
		t.Error(said)
	}

	// Of another figure.
	campaign.Targets = nil
	for _, figure := range []Figure{Gap, Rejoin} {
		campaign.Targets = append(campaign.Targets, Target{Fault: "forced stop", Guard: true, Timers: "fast", Of: figure, Max: known(100)})
	}
	for i := range campaign.Cycles {
		campaign.Cycles[i].Gap, campaign.Cycles[i].Times.Undone, campaign.Cycles[i].Times.Rejoined = known(50), known(20), known(121)
	}
	if r := campaign.Sum().Targets; r[0].Outcome != Met || *r[0].MeasuredMax != 50 || r[1].Outcome != Missed || *r[1].MeasuredMax != 101 {
		t.Errorf("%+v", r)
	}
	campaign.Targets = []Target{of(true, known(2), known(4))}

	// A cycle whose clients never wrote again is not left out.
	campaign.Cycles[1].Times.Writable = nil
	s = campaign.Sum()
	if r := s.Targets[0]; r.Outcome != Missed || *r.MeasuredP50 != 3 || r.MeasuredMax != nil {
		t.Errorf("%+v", r)
	}
	if rto := s.Groups[0].Cells[0].RTO; rto.N != 3 || rto.Min != 2 {
		t.Errorf("%+v", rto)
	}
}

func TestNumbers(t *testing.T) {
	for f, want := range map[float64]string{0: "0.00", 0.306: "0.31", 9.994: "9.99", 9.996: "10.0", 52.44: "52.4", 99.96: "100", 181.2: "181", -0.05: "-0.05"} {
		if got := Seconds(f); got != want {
			t.Errorf("%v: %s", f, got)
		}
	}
	for n, want := range map[int]string{0: "0", 999: "999", 1000: "1,000", 412345: "412,345", 1234567: "1,234,567"} {
		if got := Count(n); got != want {
			t.Errorf("%d: %s", n, got)
		}
	}
}
