package page

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/pgrun/pgrun/cmd/pgrun-report/campaign"
)

const (
	rowHeight  = 10
	headHeight = 18 // of the axis, above the rows
)

// lane is the timelines of one fault.
type lane struct {
	Fault  string
	N      int
	Bad    int // of which are not as expected
	Open   bool
	Blocks []block
}

// block is the timelines of one group, which have an axis of their own: where one group takes a minute and another
// a second, a common one would show nothing of the second.
type block struct {
	Group  campaign.Group
	RTO    *campaign.Spread
	Height int
	Ticks  []mark
	Rows   []row
}

// row is a cycle. All X are percents of the width: a phone makes the bars narrower, and not the letters smaller.
type row struct {
	Number int
	Bad    bool
	Says   string
	Y      int
	Bars   []bar
	Marks  []mark
}

type bar struct {
	X, Width float64
	Class    string // that of style.css
	Says     string
}

type mark struct {
	X     float64
	Class string
	Says  string
}

// phase ends with what a time of a cycle tells.
type phase struct {
	class, until string
	at           *float64
}

// phases are in the order in which they should end.
func phases(t *campaign.Times) []phase {
	return []phase{
		{"detected", "detected", t.Detected}, {"fenced", "fenced", t.Fenced}, {"promoted", "promoted", t.Promoted},
		{"writable", "writable", t.Writable}, {"rejoined", "rejoined", t.Rejoined},
	}
}

func timeline(c *campaign.Campaign, sum *campaign.Summary) (lanes []lane) {
	for _, fault := range c.AllFaults() {
		l := lane{Fault: fault, Open: len(lanes) == 0}
		for _, g := range c.Groups() {
			if cell := sum.Cell(g, fault); cell != nil {
				l.N += cell.N
				l.Bad += cell.N - cell.AsExpected
				l.Blocks = append(l.Blocks, blockOf(g, cell))
			}
		}
		if l.N > 0 {
			lanes = append(lanes, l)
		}
	}
	return lanes
}

func blockOf(g campaign.Group, cell *campaign.Cell) block {
	b := block{Group: g, RTO: cell.RTO, Height: headHeight + rowHeight*cell.N + 2}
	s := span(cell.Cycles)
	for _, t := range s.ticks {
		if t > s.to {
			continue
		}
		m := mark{X: s.percent(t), Says: fmt.Sprint(t) + " s", Class: "middle"}
		switch {
		case m.X > 95:
			m.Class = "end"
		case m.X < 4:
			m.Class = "start"
		}
		b.Ticks = append(b.Ticks, m)
	}
	for i, cycle := range cell.Cycles {
		r := row{Number: cycle.Number, Bad: cycle.NotOK() != "", Says: says(cycle), Y: headHeight + i*rowHeight}
		r.Bars = bars(&cycle.Times, s, slices.Contains(cycle.Expected, campaign.NoEffect))
		r.Marks = marks(cycle, s)
		b.Rows = append(b.Rows, r)
	}
	return b
}

// span is the axis of some cycles: from the fault, or a little before where something was seen before it, to the
// last of their times. Events beyond are drawn at its ends.
func span(cycles []*campaign.Cycle) scale {
	first, last := 0.0, 0.0
	for _, c := range cycles {
		for _, p := range append(phases(&c.Times), phase{at: c.Times.Undone}) {
			if p.at != nil {
				last = max(last, *p.at)
			}
		}
		for _, e := range c.Events {
			first = min(first, e.At)
		}
	}
	if last == 0 { // nothing was timed; what was seen is all that there is
		for _, c := range cycles {
			for _, e := range c.Events {
				last = max(last, e.At)
			}
		}
	}
	s := linear(last)
	s.from = max(first, -s.to/12)
	return s
}

// bars are a cycle's phases, each to when it ended. A time that is earlier than it should be ends an earlier bar.
func bars(t *campaign.Times, s scale, harmless bool) (all []bar) {
	ended := slices.DeleteFunc(phases(t), func(p phase) bool { return p.at == nil })
	slices.SortStableFunc(ended, func(a, b phase) int { return cmp.Compare(*a.at, *b.at) })
	from := 0.0
	for _, p := range ended {
		if *p.at > from {
			all = append(all, bar{s.percent(from), s.percent(*p.at) - s.percent(from), p.class,
				fmt.Sprintf("%s s to %s s, until %s", campaign.Seconds(from), campaign.Seconds(*p.at), p.until)})
			from = *p.at
		}
	}
	if t.Writable == nil && !harmless {
		all = append(all, bar{s.percent(from), 100 - s.percent(from), "never", "no acknowledged write was seen"})
	}
	return all
}

func marks(c *campaign.Cycle, s scale) (all []mark) {
	for _, e := range c.Events {
		all = append(all, mark{s.percent(e.At), "event", fmt.Sprintf("%s s %s: %s", campaign.Seconds(e.At), e.Who, e.What)})
	}
	if t := c.Times.Undone; t != nil {
		all = append(all, mark{s.percent(*t), "undone", campaign.Seconds(*t) + " s: fault undone"})
	}
	if t := c.Times.Writable; t != nil {
		all = append(all, mark{s.percent(*t), "write", campaign.Seconds(*t) + " s: first acknowledged write"})
	}
	return all
}

// says is all that is known of a cycle's times.
func says(c *campaign.Cycle) string {
	all := []string{fmt.Sprintf("cycle %d", c.Number)}
	if c.Victim != "" {
		all = append(all, "victim "+c.Victim)
	}
	for _, p := range append(phases(&c.Times), phase{until: "undone", at: c.Times.Undone}) {
		if p.at != nil {
			all = append(all, p.until+" "+campaign.Seconds(*p.at)+" s")
		}
	}
	if why := c.NotOK(); why != "" {
		all = append(all, "not as expected: "+why)
	}
	return strings.Join(all, ", ")
}
