package page

import (
	"math"
	"slices"
)

// scale is an axis of times.
type scale struct {
	from, to float64
	log      bool
	ticks    []float64
}

// apart is how many times as long as the shortest the longest typical time has to be for a logarithmic axis. On a
// linear one, all of the shorter group would then be one blot at its left end.
const apart = 15

// scaleOf is an axis for all times, which begins at 0 unless the typical times are far apart.
func scaleOf(all, typical []float64) scale {
	least, most := slices.Min(all), slices.Max(all)
	if least > 0 && slices.Max(typical) > apart*slices.Min(typical) {
		return logarithmic(least, most)
	}
	return linear(most)
}

// linear begins at 0, and has at most seven ticks, of which the last is its end.
func linear(to float64) scale {
	if to <= 0 {
		to = 1
	}
	step := math.Pow10(int(math.Floor(math.Log10(to / 5))))
	for _, times := range []float64{1, 2, 5, 10} {
		if math.Ceil(to/(times*step)) <= 6 {
			step *= times
			break
		}
	}
	s := scale{to: step * math.Ceil(to/step-1e-9)}
	for i := 0; float64(i)*step <= s.to+step/2; i++ {
		s.ticks = append(s.ticks, rounded(float64(i)*step))
	}
	return s
}

// logarithmic has ticks at 1, 2, 5, 10 and so on, of which the first and the last are its ends.
func logarithmic(least, most float64) scale {
	s := scale{log: true}
	for e := int(math.Floor(math.Log10(least))); ; e++ {
		for _, times := range []float64{1, 2, 5} {
			tick := rounded(times * math.Pow10(e))
			if tick <= least {
				s.ticks = s.ticks[:0]
			}
			s.ticks = append(s.ticks, tick)
			if tick >= most {
				s.from, s.to = s.ticks[0], tick
				return s
			}
		}
	}
}

// rounded takes away what adding up and multiplying floats leave behind the digits that count.
func rounded(f float64) float64 { return math.Round(f*1e6) / 1e6 }

// percent is where a time is between the ends of a linear axis.
func (s scale) percent(t float64) float64 {
	return min(max(100*(t-s.from)/(s.to-s.from), 0), 100)
}
