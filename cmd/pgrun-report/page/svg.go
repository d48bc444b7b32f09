package page

import (
	"bytes"
	"fmt"
	"html/template"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"
)

// width is that of every plot, in its own units: on a phone about a pixel each.
const width = 400

// figure is a plot on the page.
type figure struct {
	Title  string
	Says   string // what there is to see, for who cannot
	Height int
	SVG    template.HTML // the inside of an <svg> of width by Height
	Notes  []string
}

// newPlot is an empty plot over times, with its axis below.
func newPlot(s scale) *plot.Plot {
	p := plot.New()
	p.BackgroundColor = nil
	small := font.Font{Typeface: "Liberation", Variant: "Sans", Size: vg.Points(11)}
	p.X.Label.TextStyle.Font, p.Y.Label.TextStyle.Font = small, small
	p.X.Tick.Label.Font, p.Y.Tick.Label.Font = small, small

	p.X.Label.Text = "seconds"
	if s.log {
		p.X.Label.Text += " (logarithmic)"
		p.X.Scale = plot.LogScale{}
	}
	p.X.Min, p.X.Max = s.from, s.to
	p.X.Padding, p.Y.Padding = 0, 0
	p.X.Tick.Length = vg.Points(3)
	p.Y.Tick.Length = 0
	ticks := plot.ConstantTicks{}
	for _, t := range s.ticks {
		ticks = append(ticks, plot.Tick{Value: t, Label: fmt.Sprint(t)})
	}
	p.X.Tick.Marker = ticks

	grid := plotter.NewGrid()
	grid.Vertical = draw.LineStyle{Color: faint, Width: vg.Points(0.7)}
	grid.Horizontal = grid.Vertical
	p.Add(grid)
	return p
}

var colors = strings.NewReplacer(append(properties(),
	// It is measured with a font that few who read it have; these are as wide.
	"font-family:Liberation Sans", "font-family:Liberation Sans,Arial,Helvetica,sans-serif")...)

// inside draws a plot, and has what is inside of its <svg>.
func inside(p *plot.Plot, height int) (template.HTML, error) {
	canvas := vgsvg.New(width, vg.Length(height))
	p.Draw(draw.NewCanvas(canvas, width-6, vg.Length(height))) // the last label of the axis stands over its end
	var all bytes.Buffer
	if _, err := canvas.WriteTo(&all); err != nil {
		return "", fmt.Errorf("draw a plot: %w", err)
	}
	_, svg, begins := strings.Cut(all.String(), "<g ")
	svg, _, ends := strings.Cut(svg, "</svg>")
	if !begins || !ends {
		return "", fmt.Errorf("draw a plot: what gonum.org/v1/plot draws is no SVG: %.100q", all.String())
	}
	// The canvas escapes the texts of labels; all else in it is numbers.
	return template.HTML(colors.Replace("<g " + svg)), nil
}
