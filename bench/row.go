package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"time"
)

// row is one piece of work. It gives the table one line, or a few that are measured together.
type row struct {
	name      string
	formation formation
	measure   func(ctx context.Context, b *bench) ([]line, error)
}

// formation says how a row wants the lab's, which takes a part of a small machine even idle.
type formation string

const (
	asItIs  formation = ""
	up      formation = "up"
	stopped formation = "stopped"
)

// line is a line of the table.
type line struct {
	Work    string  `json:"work"`
	Ours    figure  `json:"pgrun"`
	Against string  `json:"compared_with,omitempty"`
	Theirs  *figure `json:"theirs,omitempty"`
	Target  target  `json:"target"`
}

// figure is what several runs took.
type figure struct {
	Unit    string    `json:"unit"` // s, ms, MB
	Min     float64   `json:"min"`
	Median  float64   `json:"median"`
	Max     float64   `json:"max"`
	All     []float64 `json:"all"`               // in the order of the runs
	Command string    `json:"command,omitempty"` // what was run
}

// figureOf sums up measurements; there is one at least.
func figureOf(unit, command string, all []float64) figure {
	sorted := slices.Sorted(slices.Values(all))
	n := len(sorted)
	return figure{
		Unit: unit, Command: command, All: all,
		Min: sorted[0], Max: sorted[n-1], Median: (sorted[(n-1)/2] + sorted[n/2]) / 2,
	}
}

// constant is the figure of what needs no second look.
func constant(unit, command string, v float64) figure { return figureOf(unit, command, []float64{v}) }

// target is what a line is to reach.
type target struct {
	Kind  kind    `json:"kind"`
	Limit float64 `json:"limit"`
}

type kind string

const (
	ratioAtMost    kind = "ratio at most"       // ours / theirs
	timesFaster    kind = "times faster"        // theirs / ours, at least
	absoluteAtMost kind = "at most, absolutely" // ours, in its unit
)

// share is how much of what its target allows a line takes: met at 1 and below.
func (l line) share() float64 {
	switch l.Target.Kind {
	case ratioAtMost:
		return l.Ours.Median / l.Theirs.Median / l.Target.Limit
	case timesFaster:
		return l.Target.Limit * l.Ours.Median / l.Theirs.Median
	}
	return l.Ours.Median / l.Target.Limit
}

func (l line) met() bool { return l.share() <= 1 }

// side is one of those that take turns.
type side struct {
	unit, command string
	before        func(ctx context.Context) error            // what does not count; may be nil
	run           func(ctx context.Context) (float64, error) // in unit
}

// turns has all sides take turns: warm of each that do not count, and then runs.
func turns(ctx context.Context, warm, runs int, sides ...side) ([]figure, error) {
	all := make([][]float64, len(sides))
	for i := range warm + runs {
		for j, s := range sides {
			if s.before != nil {
				if err := s.before(ctx); err != nil {
					return nil, fmt.Errorf("before %s: %w", s.command, err)
				}
			}
			v, err := s.run(ctx)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", s.command, err)
			}
			fmt.Fprintf(os.Stderr, "  %.4g %s  %s\n", v, s.unit, s.command)
			if i >= warm {
				all[j] = append(all[j], v)
			}
		}
	}
	figures := make([]figure, len(sides))
	for j, s := range sides {
		figures[j] = figureOf(s.unit, s.command, all[j])
	}
	return figures, nil
}

// timed measures a function in seconds.
func timed(f func(ctx context.Context) error) func(ctx context.Context) (float64, error) {
	return func(ctx context.Context) (float64, error) {
		start := time.Now()
		err := f(ctx)
		return time.Since(start).Seconds(), err
	}
}

// milliseconds turns the seconds of a measurement into milliseconds.
func milliseconds(f func(ctx context.Context) (float64, error)) func(ctx context.Context) (float64, error) {
	return func(ctx context.Context) (float64, error) {
		s, err := f(ctx)
		return s * 1000, err
	}
}
