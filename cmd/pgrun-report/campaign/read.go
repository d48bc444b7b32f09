package campaign

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

var cycleName = regexp.MustCompile(`^cycle-([0-9]+)\.json$`)

// Read reads a campaign's directory. Files of other names it leaves alone.
func Read(dir string) (*Campaign, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: no such directory: name the one that failover_campaign.star wrote to", dir)
	}
	if err != nil {
		return nil, fmt.Errorf("read the campaign: %w", err)
	}
	c := &Campaign{}
	if err := read(filepath.Join(dir, "campaign.json"), c); err != nil {
		return nil, err
	}
	for _, e := range entries {
		name := cycleName.FindStringSubmatch(e.Name())
		if name == nil {
			continue
		}
		file := filepath.Join(dir, e.Name())
		var cycle Cycle
		if err := read(file, &cycle); err != nil {
			return nil, err
		}
		if number, err := strconv.Atoi(name[1]); err != nil || number != cycle.Number {
			return nil, bad(file, "cycle: %d, which is not that of the file's name: give the file back its name, or take it out of the directory", cycle.Number)
		}
		c.Cycles = append(c.Cycles, cycle)
	}
	if len(c.Cycles) == 0 {
		return nil, fmt.Errorf("%s: no cycle-NNNN.json in it: the campaign has not ended its first cycle", dir)
	}
	slices.SortFunc(c.Cycles, func(a, b Cycle) int { return a.Number - b.Number })
	for i, cycle := range c.Cycles[1:] {
		if cycle.Number == c.Cycles[i].Number {
			return nil, fmt.Errorf("%s: two files of cycle %d: take one of them away", dir, cycle.Number)
		}
	}
	return c, nil
}

// checked is a file's content, which has rules that its types do not say.
type checked interface{ check() error }

// read reads one file of the format.
func read(file string, into checked) error {
	content, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s: not there: this is not the directory of a campaign, or its playbook has not got that far", file)
	}
	if err != nil {
		return fmt.Errorf("read the campaign: %w", err)
	}
	// First, for the fields of another version are not ours to judge.
	var of struct {
		Version *int `json:"version"`
	}
	if err := json.Unmarshal(content, &of); err != nil {
		return explain(file, err)
	}
	switch {
	case of.Version == nil:
		return bad(file, "version: not there: it is no file of a campaign")
	case *of.Version != Version:
		return bad(file, "version: %d, and this pgrun-report reads %d: use the one that belongs to the pgrun which wrote it", *of.Version, Version)
	}
	if err := shape(content, into); err != nil {
		return bad(file, "%w", err)
	}
	if err := json.Unmarshal(content, into); err != nil {
		return explain(file, err)
	}
	if err := into.check(); err != nil {
		return bad(file, "%w", err)
	}
	return nil
}

// explain says what a decoder of JSON found, in words of the file.
func explain(file string, err error) error {
	var (
		syntax *json.SyntaxError
		typed  *json.UnmarshalTypeError
	)
	switch {
	case errors.As(err, &syntax) && strings.Contains(err.Error(), "unexpected end"):
		return bad(file, "it ends in its middle: if the campaign is still writing it, do this again in a moment; otherwise take it away")
	case errors.As(err, &syntax):
		return bad(file, "no JSON at byte %d: %w", syntax.Offset, err)
	case errors.As(err, &typed):
		field := typed.Field
		if field == "" {
			field = "the whole"
		}
		return bad(file, "%s: %s, where %s is wanted", field, typed.Value, kind(typed.Type))
	}
	return bad(file, "%w", err)
}

// kind is what JSON calls a type.
func kind(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Pointer:
		return kind(t.Elem())
	case reflect.Bool:
		return "true or false"
	case reflect.Int, reflect.Int64:
		return "a whole number"
	case reflect.Float64:
		return "a number"
	case reflect.String:
		return "a string"
	case reflect.Slice:
		return "a list"
	}
	return "an object"
}

func bad(file, format string, args ...any) error {
	return fmt.Errorf("read %s: %w", file, fmt.Errorf(format, args...))
}

func (c *Campaign) check() error {
	if c.Planned < 1 {
		return fmt.Errorf("cycles: %d: one at least", c.Planned)
	}
	if c.Started.IsZero() {
		return errors.New("started: no time")
	}
	for i, t := range c.Targets {
		if t.P50 == nil && t.Max == nil {
			return fmt.Errorf("targets[%d]: neither p50 nor max", i)
		}
		if all := []Figure{"", Writable, Rejoin, Gap}; !slices.Contains(all, t.Of) {
			return fmt.Errorf("targets[%d].of: %q: one of %s, %s and %s", i, string(t.Of), string(Writable), string(Rejoin), string(Gap))
		}
		if !slices.Contains(c.Faults, t.Fault) {
			return fmt.Errorf("targets[%d].fault: %q, which is not in faults", i, t.Fault)
		}
	}
	return nil
}

func (c *Cycle) check() error {
	for _, f := range []struct{ name, is string }{{"fault", c.Fault}, {"timers", c.Timers}} {
		if strings.TrimSpace(f.is) == "" {
			return fmt.Errorf("%s: empty", f.name)
		}
	}
	if len(c.Expected) == 0 {
		return errors.New("expected: empty")
	}
	for i, e := range c.Expected {
		if !slices.Contains(expectable, e) {
			return fmt.Errorf("expected[%d]: %q: one of %s", i, string(e), words(expectable))
		}
	}
	if c.Outcome != NotHealthy && !slices.Contains(expectable, c.Outcome) {
		return fmt.Errorf("outcome: %q: one of %s", string(c.Outcome), words(append(slices.Clone(expectable), NotHealthy)))
	}
	lost := 0
	if c.Lost != nil {
		lost = *c.Lost
	}
	for _, f := range []struct {
		name string
		is   int
	}{
		{"acknowledged", c.Acknowledged}, {"indeterminate", c.Indeterminate}, {"lost", lost},
		{"overlapping", c.Overlapping}, {"stale_reads", c.StaleReads}, {"reads", c.Reads},
	} {
		if f.is < 0 {
			return fmt.Errorf("%s: %d: cannot be negative", f.name, f.is)
		}
	}
	// What another clock says of the other times may be a little before the fault.
	for _, f := range []struct {
		name string
		is   *float64
	}{{"times.writable", c.Times.Writable}, {"gap", c.Gap}} {
		if f.is != nil && *f.is < 0 {
			return fmt.Errorf("%s: %g: cannot be negative", f.name, *f.is)
		}
	}
	switch {
	case lost > c.Acknowledged:
		return fmt.Errorf("lost: %d, of %d acknowledged", lost, c.Acknowledged)
	case c.StaleReads > c.Reads:
		return fmt.Errorf("stale_reads: %d, of %d reads", c.StaleReads, c.Reads)
	}
	return nil
}

func words(outcomes []Outcome) string {
	all := make([]string, len(outcomes))
	for i, o := range outcomes {
		all[i] = string(o)
	}
	return strings.Join(all, ", ")
}
