package campaign

import "math"

// Result is how a target was kept. Cycles without the figure count as longer than any target.
type Result struct {
	Target
	N           int      `json:"n"`
	MeasuredP50 *float64 `json:"measured_p50"` // null where that is a cycle without the figure, or there are no cycles
	MeasuredMax *float64 `json:"measured_max"`
	Outcome     Kept     `json:"outcome"`
}

// Kept is whether a target was.
type Kept string

// What can be said of a target.
const (
	Met         Kept = "met"
	Missed      Kept = "missed"
	NotMeasured Kept = "not measured"
)

func (t Target) result(cell *Cell) Result {
	r := Result{Target: t, Outcome: NotMeasured}
	if cell == nil {
		return r
	}
	times := cell.all(t.Of.of)
	for len(times) < cell.N {
		times = append(times, math.Inf(1))
	}
	all := SpreadOf(times)
	r.N, r.Outcome = cell.N, Met
	if (t.P50 != nil && all.P50 > *t.P50) || (t.Max != nil && all.Max > *t.Max) {
		r.Outcome = Missed
	}
	r.MeasuredP50, r.MeasuredMax = finite(all.P50), finite(all.Max)
	return r
}

// of is a cycle's, nil where it has none.
func (f Figure) of(c *Cycle) *float64 {
	switch f {
	case Rejoin:
		if c.Times.Rejoined == nil || c.Times.Undone == nil {
			return nil
		}
		took := *c.Times.Rejoined - *c.Times.Undone
		return &took
	case Gap:
		return c.Gap
	}
	return c.Times.Writable
}

// String is how a reader has it.
func (f Figure) String() string {
	switch f {
	case Rejoin:
		return "rejoin"
	case Gap:
		return "longest pause"
	}
	return "first write"
}

func finite(f float64) *float64 {
	if math.IsInf(f, 0) {
		return nil
	}
	return &f
}
