package page

import (
	"fmt"
	"math"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	"github.com/pgrun/pgrun/cmd/pgrun-report/campaign"
)

const (
	stripHeight = 30 // of a group
	axisHeight  = 36
)

// strips draws, for each fault, how long it took until a write was acknowledged: a row for each group, and in it a
// dot for each cycle. What has no times has no plot.
func strips(c *campaign.Campaign, sum *campaign.Summary) (all []figure, err error) {
	of := looks(c)
	for _, fault := range c.AllFaults() {
		var (
			rows           []strip
			labels         plot.ConstantTicks
			times, typical []float64
			f              = figure{Title: fault}
		)
		for _, g := range c.Groups() {
			cell := sum.Cell(g, fault)
			if cell == nil {
				continue
			}
			if without := cell.N - len(cell.RTOs()); without > 0 {
				f.Notes = append(f.Notes, fmt.Sprintf("%s: no acknowledged write in %d of %s.", g, without, campaign.Counted(cell.N, "cycle", "cycles")))
			}
			if cell.RTO == nil {
				continue
			}
			y := -float64(len(rows))
			rows = append(rows, strip{y, cell.RTOs(), cell.RTO, of[g]})
			labels = append(labels, plot.Tick{Value: y, Label: roomy(fmt.Sprintf("%s (%d)", label(g), cell.RTO.N))})
			times, typical = append(times, cell.RTOs()...), append(typical, cell.RTO.P50)
			f.Says += fmt.Sprintf("%s: %d, median %s s, from %s to %s s. ", g, cell.RTO.N,
				campaign.Seconds(cell.RTO.P50), campaign.Seconds(cell.RTO.Min), campaign.Seconds(cell.RTO.Max))
		}
		if len(rows) == 0 {
			continue
		}
		p := newPlot(scaleOf(times, typical))
		p.Y.Min, p.Y.Max = 0.5-float64(len(rows)), 0.5
		p.Y.LineStyle.Width = 0
		p.Y.Tick.Marker = labels
		for _, row := range rows {
			p.Add(row)
		}
		f.Height = stripHeight*len(rows) + axisHeight
		if f.SVG, err = inside(p, f.Height); err != nil {
			return nil, err
		}
		all = append(all, f)
	}
	return all, nil
}

// roomy is a label with spaces behind it, which are measured and not drawn: the font that a reader has may be a sixth wider than
// the one it is measured with, and the row begins behind it.
func roomy(label string) string { return label + strings.Repeat(" ", len(label)/3) }

// label is a group's name beside its row, which leaves room for the row.
func label(g campaign.Group) string {
	const most = 16
	timers := []rune(g.Timers)
	if len(timers) > most {
		timers = append(timers[:most-1], '…')
	}
	if g.Guard {
		return string(timers) + ", guarded"
	}
	return string(timers) + ", not guarded"
}

// strip is a row: a box from quartile to quartile, in it the median, and the dots.
type strip struct {
	y      float64
	times  []float64
	spread *campaign.Spread
	look   look
}

// Plot draws it.
func (s strip) Plot(c draw.Canvas, p *plot.Plot) {
	x, y := p.Transforms(&c)
	middle := y(s.y)
	box := func(from, to float64, half vg.Length) []vg.Point {
		return []vg.Point{{X: x(from), Y: middle - half}, {X: x(to), Y: middle - half}, {X: x(to), Y: middle + half}, {X: x(from), Y: middle + half}}
	}
	if s.spread.N >= 4 {
		c.FillPolygon(s.look.soft(), box(s.spread.P25, s.spread.P75, 10))
	}
	var dot draw.GlyphDrawer = draw.CircleGlyph{}
	if !s.look.guard {
		dot = ring{}
	}
	style := draw.GlyphStyle{Color: s.look.color(), Radius: 2.3, Shape: dot}
	for i, t := range s.times {
		// As good as random, and the same each time: what is equal does not hide itself.
		_, aside := math.Modf(float64(i+1) * math.Phi)
		c.DrawGlyph(style, vg.Point{X: x(t), Y: middle + vg.Length(aside-0.5)*14})
	}
	median := x(s.spread.P50)
	c.StrokeLine2(draw.LineStyle{Width: 1.6}, median, middle-12, median, middle+12)
}

// ring is draw.RingGlyph with a line that can be seen.
type ring struct{}

// DrawGlyph draws it.
func (ring) DrawGlyph(c *draw.Canvas, style draw.GlyphStyle, at vg.Point) {
	c.SetLineStyle(draw.LineStyle{Color: style.Color, Width: 1.1})
	var p vg.Path
	p.Move(vg.Point{X: at.X + style.Radius, Y: at.Y})
	p.Arc(at, style.Radius, 0, 2*math.Pi)
	p.Close()
	c.Stroke(p)
}
