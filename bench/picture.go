package main

import (
	"bytes"
	"fmt"
	"image/color"
	"math"
	"os"
	"path/filepath"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"
)

// Colors that are told apart without red and green, too, and read on a light and on a dark page.
var (
	metColor    = color.NRGBA{0x1b, 0x7f, 0xb8, 0xff}
	missedColor = color.NRGBA{0xd9, 0x6c, 0x0c, 0xff}
)

// picture draws each line as a bar: how much it takes of what its target allows, on a logarithmic scale.
func picture(lines []line) (*plot.Plot, error) {
	p := plot.New()
	p.BackgroundColor = color.White
	p.Title.Text = "What each piece of work takes of what its target allows (left of the line: met)"
	p.Title.TextStyle.Font = font.Font{Typeface: "Liberation", Variant: "Sans", Size: vg.Points(11)}
	p.X.Tick.Label.Font = font.Font{Typeface: "Liberation", Variant: "Sans", Size: vg.Points(9)}
	p.X.Scale = plot.LogScale{}
	p.X.Tick.Marker = plot.ConstantTicks(shareTicks)
	p.HideY()

	least, most := 0.01, 10.0
	for _, l := range lines {
		least, most = min(least, l.share()/2), max(most, l.share()*2)
	}
	// Right of the bars there is room for what they are.
	p.X.Min, p.X.Max = least/1.5, most*300
	p.Y.Min, p.Y.Max = -0.6, float64(len(lines))-0.4

	names := plotter.XYLabels{}
	for i, l := range lines {
		y := float64(len(lines) - 1 - i)
		bar, err := plotter.NewPolygon(plotter.XYs{{X: least, Y: y - 0.3}, {X: l.share(), Y: y - 0.3}, {X: l.share(), Y: y + 0.3}, {X: least, Y: y + 0.3}})
		if err != nil {
			return nil, err
		}
		bar.LineStyle.Width = 0
		bar.Color = metColor
		if !l.met() {
			bar.Color = missedColor
		}
		p.Add(bar)
		names.XYs = append(names.XYs, plotter.XY{X: max(l.share(), 1) * 1.15, Y: y})
		names.Labels = append(names.Labels, l.label())
		p.Y.Max = max(p.Y.Max, y+0.6)
	}
	labels, err := plotter.NewLabels(names)
	if err != nil {
		return nil, err
	}
	for i := range labels.TextStyle {
		labels.TextStyle[i].YAlign = text.YCenter
		labels.TextStyle[i].Font = p.X.Tick.Label.Font
	}
	at, err := plotter.NewLine(plotter.XYs{{X: 1, Y: p.Y.Min}, {X: 1, Y: p.Y.Max}})
	if err != nil {
		return nil, err
	}
	at.Width = vg.Points(1.2)
	p.Add(at, labels)
	return p, nil
}

// shareTicks label the scale as far as it has a meaning.
var shareTicks = func() (ticks []plot.Tick) {
	for e := -3; e <= 2; e++ {
		v := math.Pow10(e)
		ticks = append(ticks, plot.Tick{Value: v, Label: fmt.Sprintf("%g ×", v)})
	}
	return ticks
}()

// label says what a bar is.
func (l line) label() string {
	figures := l.Ours.String()
	if ratio := l.ratio(); ratio != "" && l.Target.Kind != absoluteAtMost {
		if l.Target.Kind == timesFaster {
			ratio += " than"
		}
		figures = ratio + " " + l.Against
	}
	return fmt.Sprintf("%s: %s (%s)", l.Work, figures, l.Target.of(l.Ours.Unit))
}

// drawSVG writes the picture as SVG.
func drawSVG(path string, lines []line) error {
	p, err := picture(lines)
	if err != nil {
		return err
	}
	canvas := vgsvg.New(26*vg.Centimeter, vg.Length(2+len(lines))*0.75*vg.Centimeter)
	p.Draw(draw.New(canvas))
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	var svg bytes.Buffer
	if _, err := canvas.WriteTo(&svg); err != nil {
		return fmt.Errorf("draw the picture: %w", err)
	}
	// Who looks at it may lack the font that it was measured with.
	return os.WriteFile(path, bytes.ReplaceAll(svg.Bytes(), []byte("font-family:Liberation Sans"), []byte("font-family:Liberation Sans,Arial,sans-serif")), 0o644)
}
