package main

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/pgrun/pgrun/cmd/pgrun-report/campaign"
)

// table prints the verdict, the figures of each fault as a table, which is Markdown, too, and what was not as expected.
func table(w io.Writer, sum *campaign.Summary) error {
	var b bytes.Buffer
	passed := "PASSED"
	if !sum.Passed {
		passed = "FAILED"
	}
	fmt.Fprintf(&b, "%s: %s.\n", passed, sum.Verdict)
	for _, r := range sum.Remarks {
		fmt.Fprintln(&b, visible(r))
	}
	for _, g := range sum.Groups {
		fmt.Fprintf(&b, "\n%s:\n\n", visible(g.String()))
		rows := [][]string{
			{"fault", "n", "expected", "first write", "p50", "p95", "max", "promoted p50", "rejoined p50", "max", "acknowledged", "indeterminate", "lost", "overlapping", "stale reads"},
			{"---", "---:", "---", "---:", "---:", "---:", "---:", "---:", "---:", "---:", "---:", "---:", "---:", "---:", "---:"},
		}
		for _, c := range g.Cells {
			rows = append(rows, cells(&c))
		}
		align(&b, rows)
	}
	fmt.Fprint(&b, "\nSeconds after the fault; first write: the least. Percentiles are nearest-rank.\n")
	for _, t := range sum.Targets {
		fmt.Fprintln(&b, visible(target(&t)))
	}
	if len(sum.NotAsExpected) > 0 {
		fmt.Fprint(&b, "\nNot as expected:\n")
	}
	for _, n := range sum.NotAsExpected {
		fmt.Fprintln(&b, visible(fmt.Sprintf("  cycle %d, %s, %s: %s", n.Number, n.Fault, n.Group, n.Why)))
	}
	_, err := b.WriteTo(w)
	return err
}

func cells(c *campaign.Cell) []string {
	const none = "-"
	row := []string{c.Fault, campaign.Count(c.N), expected(c)}
	if s := c.RTO; s != nil {
		longest := campaign.Seconds(s.Max)
		if s.N < c.N {
			longest += fmt.Sprintf(" of %d", s.N)
		}
		row = append(row, campaign.Seconds(s.Min), campaign.Seconds(s.P50), campaign.Seconds(s.P95), longest)
	} else {
		row = append(row, none, none, none, none)
	}
	if s := c.Promoted; s != nil {
		row = append(row, campaign.Seconds(s.P50))
	} else {
		row = append(row, none)
	}
	if s := c.Rejoined; s != nil {
		row = append(row, campaign.Seconds(s.P50), campaign.Seconds(s.Max))
	} else {
		row = append(row, none, none)
	}
	lost := campaign.Count(c.Lost)
	switch {
	case c.Unverified == c.N:
		lost = "?"
	case c.Unverified > 0:
		lost += fmt.Sprintf(" (%d ?)", c.Unverified)
	}
	return append(row, campaign.Count(c.Acknowledged), campaign.Count(c.Indeterminate), lost, campaign.Count(c.Overlapping), campaign.Count(c.StaleReads))
}

func expected(c *campaign.Cell) string {
	all := make([]string, len(c.Expected))
	for i, e := range c.Expected {
		all[i] = string(e)
	}
	said := strings.Join(all, ", ")
	if c.AsExpected < c.N {
		said += fmt.Sprintf(" (%d of %d)", c.AsExpected, c.N)
	}
	return said
}

func target(r *campaign.Result) string {
	said := fmt.Sprintf("Target of %s, %s, %s: %s", r.Fault, campaign.Group{Timers: r.Timers, Guard: r.Guard}, r.Of, r.Outcome)
	for _, of := range []struct {
		name           string
		want, measured *float64
	}{{"p50", r.P50, r.MeasuredP50}, {"max", r.Max, r.MeasuredMax}} {
		if of.want == nil || r.Outcome == campaign.NotMeasured {
			continue
		}
		measured := "never"
		if of.measured != nil {
			measured = campaign.Seconds(*of.measured) + " s"
		}
		said += fmt.Sprintf(", %s %s (at most %s s)", of.name, measured, campaign.Seconds(*of.want))
	}
	return said + "."
}

// align writes rows with columns as wide as what is in them; the first and the third are text, the others numbers.
func align(w io.Writer, rows [][]string) {
	widths := make([]int, len(rows[0]))
	for _, row := range rows {
		for i := range row {
			row[i] = visible(row[i])
			widths[i] = max(widths[i], utf8.RuneCountInString(row[i]))
		}
	}
	for _, row := range rows {
		for i, cell := range row {
			room := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell))
			if i == 0 || i == 2 {
				cell += room
			} else {
				cell = room + cell
			}
			fmt.Fprintf(w, "| %s ", cell)
		}
		fmt.Fprintln(w, "|")
	}
}

// visible is one line, without a character by which a file could write to the terminal what it likes.
func visible(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case !unicode.IsGraphic(r):
			return '�'
		}
		return r
	}, s)
}
