package page

import (
	"fmt"
	"slices"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"

	"github.com/pgrun/pgrun/cmd/pgrun-report/campaign"
)

const curveHeight = 240

// curve draws how many cycles of the main fault had an acknowledged write by when, a line for each group. The main
// fault is the first one that has any.
func curve(c *campaign.Campaign, sum *campaign.Summary) (*figure, error) {
	for _, fault := range c.AllFaults() {
		var (
			cells          []*campaign.Cell
			groups         []campaign.Group
			times, typical []float64
		)
		for _, g := range c.Groups() {
			if cell := sum.Cell(g, fault); cell != nil && cell.RTO != nil {
				cells, groups = append(cells, cell), append(groups, g)
				times, typical = append(times, cell.RTOs()...), append(typical, cell.RTO.P50)
			}
		}
		if len(cells) == 0 {
			continue
		}
		f := &figure{Title: fault, Height: curveHeight}
		s := scaleOf(times, typical)
		p := newPlot(s)
		p.Y.Min, p.Y.Max = 0, 100
		p.Y.Label.Text = "% of the cycles"
		p.Y.Tick.Marker = plot.ConstantTicks{{Value: 0, Label: "0"}, {Value: 25, Label: "25"}, {Value: 50, Label: "50"}, {Value: 75, Label: "75"}, {Value: 100, Label: "100"}}
		of := looks(c)
		for i, cell := range cells {
			line, err := plotter.NewLine(steps(cell, s))
			if err != nil {
				return nil, fmt.Errorf("draw the times of %s: %w", fault, err)
			}
			line.Color, line.Width, line.Dashes = of[groups[i]].color(), vg.Points(1.8), of[groups[i]].dashes()
			p.Add(line)
			f.Says += fmt.Sprintf("%s: half by %s s, 95 %% by %s s. ", groups[i], campaign.Seconds(cell.RTO.P50), campaign.Seconds(cell.RTO.P95))
		}
		var err error
		if f.SVG, err = inside(p, f.Height); err != nil {
			return nil, err
		}
		return f, nil
	}
	return nil, nil
}

// steps are the corners of a cell's line. Where some of the cycles have no acknowledged write it does not reach 100, and
// goes on to the right end.
func steps(cell *campaign.Cell, s scale) plotter.XYs {
	sorted := slices.Sorted(slices.Values(cell.RTOs()))
	corners, height := plotter.XYs{}, 0.0
	for i, t := range sorted {
		corners = append(corners, plotter.XY{X: t, Y: height})
		height = 100 * float64(i+1) / float64(cell.N)
		corners = append(corners, plotter.XY{X: t, Y: height})
	}
	if len(sorted) < cell.N {
		corners = append(corners, plotter.XY{X: s.to, Y: height})
	}
	return corners
}
