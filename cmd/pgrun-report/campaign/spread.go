package campaign

import "slices"

// Spread is how figures are distributed. Its percentiles are nearest-rank: each is a figure that was measured.
type Spread struct {
	N   int     `json:"n"`
	Min float64 `json:"min"`
	P25 float64 `json:"p25"`
	P50 float64 `json:"p50"`
	P75 float64 `json:"p75"`
	P95 float64 `json:"p95"`
	Max float64 `json:"max"`
}

// SpreadOf is nil where there are no figures.
func SpreadOf(figures []float64) *Spread {
	if len(figures) == 0 {
		return nil
	}
	sorted := slices.Sorted(slices.Values(figures))
	return &Spread{
		N: len(sorted), Min: sorted[0], Max: sorted[len(sorted)-1],
		P25: percentile(sorted, 25), P50: percentile(sorted, 50), P75: percentile(sorted, 75), P95: percentile(sorted, 95),
	}
}

// percentile is the smallest of the sorted figures that percent of them are not greater than.
func percentile(sorted []float64, percent int) float64 {
	rank := (percent*len(sorted) + 99) / 100 // rounded up, without a float's error
	return sorted[rank-1]
}
