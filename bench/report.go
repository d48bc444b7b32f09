package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
	"unicode/utf8"
)

// report is all that was measured.
type report struct {
	Machine  machine           `json:"machine"`
	Versions map[string]string `json:"versions"`
	Rows     []measured        `json:"rows"`
}

// measured is a row that was run.
type measured struct {
	Name  string     `json:"name"`
	At    time.Time  `json:"at"`
	Load  [2]float64 `json:"load"` // of the machine, before and after
	Error string     `json:"error,omitempty"`
	Lines []line     `json:"lines"`
}

// readReport reads an earlier report, whose rows stand until they are measured again.
func readReport(path string) (*report, error) {
	content, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return &report{Versions: map[string]string{}}, nil
	}
	if err != nil {
		return nil, err
	}
	r := &report{}
	if err := json.Unmarshal(content, r); err != nil {
		return nil, fmt.Errorf("%s: %w: remove it", path, err)
	}
	return r, nil
}

// set puts what was measured in the place of what is known of that row, in the order of the table.
func (r *report) set(name string, lines []line, err error, begin, end float64) {
	now := measured{Name: name, At: time.Now().UTC().Truncate(time.Second), Load: [2]float64{begin, end}, Lines: lines}
	if err != nil {
		now.Lines, now.Error = nil, err.Error()
	}
	known := map[string]measured{}
	for _, m := range r.Rows {
		known[m.Name] = m
	}
	known[name] = now
	r.Rows = nil
	for _, row := range rows {
		if m, ok := known[row.name]; ok {
			r.Rows = append(r.Rows, m)
		}
	}
}

func (r *report) lines() (all []line) {
	for _, m := range r.Rows {
		all = append(all, m.Lines...)
	}
	return all
}

func (r *report) write(path string) error {
	content, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, append(content, '\n'), 0o644)
}

// print prints the table, which is Markdown, too.
func (r *report) print(w io.Writer) {
	table := [][]string{{"work", "pgrun", "compared with", "ratio", "target", "met?"}, {"---", "---", "---", "---", "---", "---"}}
	for _, m := range r.Rows {
		if m.Error != "" {
			first, _, _ := strings.Cut(m.Error, "\n")
			table = append(table, []string{m.Name, "failed", first, "", "", "no"})
		}
		for _, l := range m.Lines {
			table = append(table, l.cells())
		}
	}
	widths := make([]int, len(table[0]))
	for _, cells := range table {
		for i, c := range cells {
			widths[i] = max(widths[i], utf8.RuneCountInString(c))
		}
	}
	for _, cells := range table {
		for i, c := range cells {
			fmt.Fprintf(w, "| %s%s ", c, strings.Repeat(" ", widths[i]-utf8.RuneCountInString(c)))
		}
		fmt.Fprintln(w, "|")
	}
	fmt.Fprintf(w, "\nMedians, in brackets the least and the most. %s, %d cores, %s, Linux %s.\n",
		r.Machine.Processor, r.Machine.Cores, r.Machine.System, r.Machine.Kernel)
	for _, m := range r.Rows {
		if m.Error != "" {
			fmt.Fprintf(w, "\n%s: %s\n", m.Name, m.Error)
		}
	}
}

func (l line) cells() []string {
	against, met := l.Against, "yes"
	if l.Theirs != nil {
		against += ": " + l.Theirs.String()
	}
	if !l.met() {
		met = "no"
	}
	return []string{l.Work, l.Ours.String(), against, l.ratio(), l.Target.of(l.Ours.Unit), met}
}

// String is the median, and the least and the most where they differ.
func (f figure) String() string {
	if f.Min == f.Max {
		return short(f.Median) + " " + f.Unit
	}
	return fmt.Sprintf("%s %s (%s to %s)", short(f.Median), f.Unit, short(f.Min), short(f.Max))
}

// ratio is what the target is about, where the line has two sides.
func (l line) ratio() string {
	switch {
	case l.Theirs == nil:
		return ""
	case l.Target.Kind == timesFaster:
		return short(l.Theirs.Median/l.Ours.Median) + " × faster"
	}
	return short(l.Ours.Median/l.Theirs.Median) + " ×"
}

func (t target) of(unit string) string {
	switch t.Kind {
	case ratioAtMost:
		return "≤ " + short(t.Limit) + " ×"
	case timesFaster:
		return "≥ " + short(t.Limit) + " × faster"
	}
	return "≤ " + short(t.Limit) + " " + unit
}

// short writes a number with three digits that count.
func short(v float64) string {
	if v >= 100 {
		return fmt.Sprintf("%.0f", v)
	}
	return fmt.Sprintf("%.3g", v)
}
