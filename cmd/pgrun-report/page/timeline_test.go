package page

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/pgrun/pgrun/cmd/pgrun-report/campaign"
)

func known(f float64) *float64 { return &f }

func TestBars(t *testing.T) {
	for _, c := range []struct {
		times    campaign.Times
		harmless bool
		want     string
	}{
		{campaign.Times{Detected: known(1), Fenced: known(2), Promoted: known(3), Writable: known(4), Rejoined: known(8)}, false,
			"detected 0+10 fenced 10+10 promoted 20+10 writable 30+10 rejoined 40+40"},
		// Nobody has detected it, and it is fenced when clients write already.
		{campaign.Times{Writable: known(2), Fenced: known(3), Rejoined: known(5)}, false, "writable 0+20 fenced 20+10 rejoined 30+20"},
		// Another clock saw it before it was.
		{campaign.Times{Detected: known(-1), Writable: known(2)}, false, "writable 0+20"},
		{campaign.Times{Detected: known(1)}, false, "detected 0+10 never 10+90"},
		{campaign.Times{}, true, ""},
	} {
		var got []string
		for _, b := range bars(&c.times, linear(10), c.harmless) {
			got = append(got, fmt.Sprintf("%s %g+%g", b.Class, b.X, b.Width))
		}
		if s := strings.Join(got, " "); s != c.want {
			t.Errorf("%s, not %s", s, c.want)
		}
	}
}

func TestScales(t *testing.T) {
	for _, c := range []struct {
		all, typical []float64
		log          bool
		ticks        []float64
	}{
		{[]float64{1.4, 2.4}, []float64{1.7}, false, []float64{0, 0.5, 1, 1.5, 2, 2.5}},
		{[]float64{3, 50}, []float64{4, 50}, false, []float64{0, 10, 20, 30, 40, 50}},
		{[]float64{3, 70}, []float64{4, 62}, true, []float64{2, 5, 10, 20, 50, 100}},
		{[]float64{0, 70}, []float64{0, 62}, false, []float64{0, 20, 40, 60, 80}},
		{[]float64{0}, []float64{0}, false, []float64{0, 0.2, 0.4, 0.6, 0.8, 1}},
		{[]float64{0.02, 0.021}, []float64{0.02}, false, []float64{0, 0.005, 0.01, 0.015, 0.02, 0.025}},
	} {
		s := scaleOf(c.all, c.typical)
		if s.log != c.log || !slices.Equal(s.ticks, c.ticks) || s.from != c.ticks[0] || s.to != c.ticks[len(c.ticks)-1] {
			t.Errorf("%v: %+v", c.all, s)
		}
	}
}

func TestStepsEndBelowWhereCyclesHaveNoWrite(t *testing.T) {
	cell := &campaign.Cell{N: 4}
	for _, w := range []*float64{known(3), nil, known(1), known(3)} {
		cell.Cycles = append(cell.Cycles, &campaign.Cycle{Times: campaign.Times{Writable: w}})
	}
	got := fmt.Sprint(steps(cell, linear(10)))
	if want := "[{1 0} {1 25} {3 25} {3 50} {3 50} {3 75} {10 75}]"; got != want {
		t.Error(got)
	}
}
