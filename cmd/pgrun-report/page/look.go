package page

import (
	"fmt"
	"image/color"
	"slices"

	"gonum.org/v1/plot/vg"

	"github.com/pgrun/pgrun/cmd/pgrun-report/campaign"
)

// shades is for how many kinds of timers style.css has a color. More share them; each row has its name beside it.
const shades = 4

// look is how a group is drawn: its color tells the timers, its form the guard, so that either can be read without
// the other.
type look struct {
	shade int
	guard bool
}

// looks has that of each group.
func looks(c *campaign.Campaign) map[campaign.Group]look {
	all, timers := map[campaign.Group]look{}, []string(nil)
	for _, g := range c.Groups() {
		if !slices.Contains(timers, g.Timers) {
			timers = append(timers, g.Timers)
		}
		all[g] = look{slices.Index(timers, g.Timers) % shades, g.Guard}
	}
	return all
}

// Colors that stand for properties of style.css: the page is light or dark only where it is read. svg.go puts the
// properties in their place. Black is the color of the text.
var faint = color.NRGBA{0, 3, 0, 0xff}

func (l look) color() color.Color { return color.NRGBA{0, 1, uint8(l.shade), 0xff} }
func (l look) soft() color.Color  { return color.NRGBA{0, 2, uint8(l.shade), 0xff} }

// properties maps those colors, as they are written in SVG, to what they stand for.
func properties() []string {
	all := []string{"#000000", "currentColor", "#000300", "var(--faint)"}
	for i := range shades {
		all = append(all, fmt.Sprintf("#0001%02X", i), fmt.Sprintf("var(--shade-%d)", i),
			fmt.Sprintf("#0002%02X", i), fmt.Sprintf("var(--soft-%d)", i))
	}
	return all
}

// dashes are those of a group's line.
func (l look) dashes() []vg.Length {
	if l.guard {
		return nil
	}
	return []vg.Length{vg.Points(4), vg.Points(3)}
}

// key is a group in the legend.
type key struct {
	Group campaign.Group
	Shade int
}

func legend(c *campaign.Campaign) (keys []key) {
	all := looks(c)
	for _, g := range c.Groups() {
		keys = append(keys, key{g, all[g].shade})
	}
	return keys
}
