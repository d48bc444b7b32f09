// Package page draws a campaign as one HTML file, which needs nothing beside it: no script, no font, no network.
package page

import (
	"bytes"
	_ "embed"
	"html/template"
	"io"

	"github.com/pgrun/pgrun/cmd/pgrun-report/campaign"
)

var (
	//go:embed page.html
	pageHTML string
	//go:embed style.css
	styleCSS string

	page = template.Must(template.New("page").Funcs(template.FuncMap{
		"count":   campaign.Count,
		"counted": campaign.Counted,
		"seconds": campaign.Seconds,
		"maybe":   maybe,
	}).Parse(pageHTML))
)

// view is what the page shows.
type view struct {
	*campaign.Campaign
	Sum      *campaign.Summary
	Style    template.CSS
	Legend   []key
	Strips   []figure
	Curve    *figure // nil where no cycle has an acknowledged write
	Timeline []lane
}

// Write writes the page.
func Write(w io.Writer, c *campaign.Campaign, sum *campaign.Summary) error {
	v := view{Campaign: c, Sum: sum, Style: template.CSS(styleCSS), Legend: legend(c), Timeline: timeline(c, sum)}
	var err error
	if v.Strips, err = strips(c, sum); err != nil {
		return err
	}
	if v.Curve, err = curve(c, sum); err != nil {
		return err
	}
	// Whole, or not at all: half a page would look like one.
	var all bytes.Buffer
	if err := page.Execute(&all, v); err != nil {
		return err
	}
	_, err = all.WriteTo(w)
	return err
}

// maybe writes a time that may not be known.
func maybe(s *float64) string {
	if s == nil {
		return "–"
	}
	return campaign.Seconds(*s)
}
