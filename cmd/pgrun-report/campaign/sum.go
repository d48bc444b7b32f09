package campaign

import (
	"slices"
	"time"
)

// Summary is what a campaign adds up to.
type Summary struct {
	Version       int             `json:"version"` // of the campaign's format, and of this one
	Seed          int64           `json:"seed"`
	Started       time.Time       `json:"started"`
	Planned       int             `json:"planned"`
	Passed        bool            `json:"passed"`
	Verdict       string          `json:"verdict"`
	Remarks       []string        `json:"remarks"` // what else has to be known
	Totals        Totals          `json:"totals"`
	NotAsExpected []NotAsExpected `json:"not_as_expected"`
	Targets       []Result        `json:"targets"`
	Groups        []GroupSum      `json:"groups"`
	Command       string          `json:"command"`
}

// Totals are of all cycles.
type Totals struct {
	Cycles        int   `json:"cycles"`
	Missing       []int `json:"missing"` // numbers between the first and the last that there is no file of
	AsExpected    int   `json:"as_expected"`
	Acknowledged  int   `json:"acknowledged"`
	Indeterminate int   `json:"indeterminate"`
	Lost          int   `json:"lost"` // of those cycles where it was verified
	LostCycles    int   `json:"lost_cycles"`
	Unverified    int   `json:"unverified_cycles"` // cycles where it was not
	UnverifiedOf  int   `json:"unverified"`        // acknowledged writes of these
	Overlapping   int   `json:"overlapping"`
	OverlapCycles int   `json:"overlapping_cycles"`
	StaleReads    int   `json:"stale_reads"`
	StaleCycles   int   `json:"stale_reads_cycles"`
	Reads         int   `json:"reads"`
}

// NotAsExpected is a cycle that needs somebody to look.
type NotAsExpected struct {
	Cycle *Cycle `json:"-"`

	Number int    `json:"cycle"`
	Fault  string `json:"fault"`
	Group
	Why string `json:"why"`
}

// GroupSum is what the cycles of one group add up to, a cell for each fault.
type GroupSum struct {
	Group
	Cells []Cell `json:"faults"`
}

// Cell is the cycles of one group and one fault.
type Cell struct {
	Fault         string    `json:"fault"`
	N             int       `json:"n"`
	AsExpected    int       `json:"as_expected"`
	Expected      []Outcome `json:"expected"` // any of these
	RTO           *Spread   `json:"rto"`      // Times.Writable; null where no cycle has one, its N may be fewer than the cell's
	Promoted      *Spread   `json:"promoted"`
	Rejoined      *Spread   `json:"rejoined"`
	Gap           *Spread   `json:"gap"`
	Acknowledged  int       `json:"acknowledged"`
	Indeterminate int       `json:"indeterminate"`
	Lost          int       `json:"lost"`
	Unverified    int       `json:"unverified_cycles"`
	Overlapping   int       `json:"overlapping"`
	StaleReads    int       `json:"stale_reads"`

	Cycles []*Cycle `json:"-"`
}

// Sum adds up.
func (c *Campaign) Sum() *Summary {
	s := &Summary{
		Version: Version, Seed: c.Seed, Started: c.Started, Planned: c.Planned, Command: c.Repeat(),
		Remarks: []string{}, NotAsExpected: []NotAsExpected{}, Targets: []Result{},
	}
	s.Totals.Missing = []int{}
	for i := range c.Cycles {
		cycle := &c.Cycles[i]
		if i > 0 {
			for n := c.Cycles[i-1].Number + 1; n < cycle.Number; n++ {
				s.Totals.Missing = append(s.Totals.Missing, n)
			}
		}
		s.Totals.add(cycle)
		if why := cycle.NotOK(); why != "" {
			s.NotAsExpected = append(s.NotAsExpected, NotAsExpected{cycle, cycle.Number, cycle.Fault, cycle.Group(), why})
		}
	}
	s.Groups = c.groups()
	for _, t := range c.Targets {
		s.Targets = append(s.Targets, t.result(s.cell(t)))
	}
	// Where nothing could be verified, that nothing is known to be lost says nothing.
	s.Passed = len(s.NotAsExpected) == 0 && s.Totals.Unverified < s.Totals.Cycles
	s.Verdict = s.Totals.verdict()
	s.Remarks = append(s.Remarks, s.remarks()...)
	return s
}

func (t *Totals) add(c *Cycle) {
	t.Cycles++
	if c.NotOK() == "" {
		t.AsExpected++
	}
	t.Acknowledged += c.Acknowledged
	t.Indeterminate += c.Indeterminate
	t.Overlapping += c.Overlapping
	t.StaleReads += c.StaleReads
	t.Reads += c.Reads
	switch {
	case c.Lost == nil:
		t.Unverified++
		t.UnverifiedOf += c.Acknowledged
	case *c.Lost > 0:
		t.Lost += *c.Lost
		t.LostCycles++
	}
	if c.Overlapping > 0 {
		t.OverlapCycles++
	}
	if c.StaleReads > 0 {
		t.StaleCycles++
	}
}

// groups has the groups, and of each its faults in the campaign's order.
func (c *Campaign) groups() []GroupSum {
	cells := map[Group]map[string]*Cell{}
	for i := range c.Cycles {
		cycle := &c.Cycles[i]
		of := cells[cycle.Group()]
		if of == nil {
			of = map[string]*Cell{}
			cells[cycle.Group()] = of
		}
		if of[cycle.Fault] == nil {
			of[cycle.Fault] = &Cell{Fault: cycle.Fault}
		}
		of[cycle.Fault].add(cycle)
	}
	var sums []GroupSum
	for _, g := range c.Groups() {
		sum := GroupSum{Group: g}
		for _, fault := range c.AllFaults() {
			if cell := cells[g][fault]; cell != nil {
				cell.spread()
				sum.Cells = append(sum.Cells, *cell)
			}
		}
		sums = append(sums, sum)
	}
	return sums
}

// Groups are those that have cycles: the guarded ones first, and otherwise in the order of the cycles.
func (c *Campaign) Groups() []Group {
	var guarded, others []Group
	for i := range c.Cycles {
		g := c.Cycles[i].Group()
		of := &others
		if g.Guard {
			of = &guarded
		}
		if !slices.Contains(*of, g) {
			*of = append(*of, g)
		}
	}
	return append(guarded, others...)
}

// AllFaults are those of campaign.json, and behind them those that only cycles name.
func (c *Campaign) AllFaults() []string {
	all := slices.Clone(c.Faults)
	for i := range c.Cycles {
		if fault := c.Cycles[i].Fault; !slices.Contains(all, fault) {
			all = append(all, fault)
		}
	}
	return all
}

func (c *Cell) add(cycle *Cycle) {
	c.Cycles = append(c.Cycles, cycle)
	c.N++
	if cycle.NotOK() == "" {
		c.AsExpected++
	}
	for _, e := range cycle.Expected {
		if slices.Contains(c.Expected, e) {
			continue
		}
		c.Expected = append(c.Expected, e)
	}
	c.Acknowledged += cycle.Acknowledged
	c.Indeterminate += cycle.Indeterminate
	c.Overlapping += cycle.Overlapping
	c.StaleReads += cycle.StaleReads
	if cycle.Lost == nil {
		c.Unverified++
	} else {
		c.Lost += *cycle.Lost
	}
}

func (c *Cell) spread() {
	c.RTO = SpreadOf(c.RTOs())
	c.Promoted = SpreadOf(c.all(func(c *Cycle) *float64 { return c.Times.Promoted }))
	c.Rejoined = SpreadOf(c.all(func(c *Cycle) *float64 { return c.Times.Rejoined }))
	c.Gap = SpreadOf(c.all(Gap.of))
}

// all is a figure of those cycles that have it, in their order.
func (c *Cell) all(figure func(*Cycle) *float64) (all []float64) {
	for _, cycle := range c.Cycles {
		if f := figure(cycle); f != nil {
			all = append(all, *f)
		}
	}
	return all
}

// RTOs are the cell's times until a write was acknowledged.
func (c *Cell) RTOs() []float64 { return c.all(Writable.of) }

// Cell is that of a group and a fault, nil where there is none.
func (s *Summary) Cell(g Group, fault string) *Cell {
	for i := range s.Groups {
		if s.Groups[i].Group != g {
			continue
		}
		for j := range s.Groups[i].Cells {
			if s.Groups[i].Cells[j].Fault == fault {
				return &s.Groups[i].Cells[j]
			}
		}
	}
	return nil
}

func (s *Summary) cell(t Target) *Cell { return s.Cell(Group{t.Timers, t.Guard}, t.Fault) }
