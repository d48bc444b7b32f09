package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestFigure(t *testing.T) {
	f := figureOf("s", "", []float64{3, 1, 10, 2})
	if f.Min != 1 || f.Median != 2.5 || f.Max != 10 {
		t.Errorf("%+v", f)
	}
	if got := f.String(); got != "2.5 s (1 to 10)" {
		t.Errorf("%s", got)
	}
}

func TestTargets(t *testing.T) {
	theirs := constant("s", "", 10)
	for _, c := range []struct {
		ours   float64
		target target
		ratio  string
		met    bool
	}{
		{12, target{ratioAtMost, 1.2}, "1.2 ×", true},
		{13, target{ratioAtMost, 1.2}, "1.3 ×", false},
		{0.1, target{timesFaster, 80}, "100 × faster", true},
		{1, target{timesFaster, 80}, "10 × faster", false},
		{50, target{absoluteAtMost, 50}, "5 ×", true},
		{51, target{absoluteAtMost, 50}, "5.1 ×", false},
	} {
		l := line{Ours: constant("s", "", c.ours), Theirs: &theirs, Target: c.target}
		if l.ratio() != c.ratio || l.met() != c.met {
			t.Errorf("%v of %+v: %s, %v", c.ours, c.target, l.ratio(), l.met())
		}
	}
}

func TestTurnsAlternateAndLeaveTheFirstOut(t *testing.T) {
	var order strings.Builder
	of := func(name string) side {
		n := 0.0
		return side{unit: "s", command: name, run: func(context.Context) (float64, error) {
			order.WriteString(name)
			n++
			return n, nil
		}}
	}
	f, err := turns(t.Context(), 1, 2, of("a"), of("b"))
	if err != nil || order.String() != "ababab" || len(f[0].All) != 2 || f[1].Min != 2 || f[1].Max != 3 {
		t.Errorf("%s, %+v, %v", order.String(), f, err)
	}
}

func TestReportKeepsOtherRows(t *testing.T) {
	file := filepath.Join(t.TempDir(), "dist", "bench.json")
	r := &report{}
	r.set("copy a file", nil, errors.New("cut off\nand more"), 0, 0)
	if err := r.write(file); err != nil {
		t.Fatal(err)
	}
	r, err := readReport(file)
	if err != nil {
		t.Fatal(err)
	}
	r.set("sizes", []line{{Work: "size", Ours: constant("MB", "", 2), Target: target{absoluteAtMost, 1}}}, nil, 0, 0)
	var out strings.Builder
	r.print(&out)
	table := out.String()
	if size, failed := strings.Index(table, "| size "), strings.Index(table, "| copy a file | failed"); size < 0 || failed < size {
		t.Errorf("%s", table)
	}
	if !strings.Contains(table, "≤ 1 MB | no ") || !strings.Contains(table, "and more") {
		t.Errorf("%s", table)
	}
}

func TestPicture(t *testing.T) {
	theirs := constant("s", "", 10)
	file := filepath.Join(t.TempDir(), "docs", "picture.svg")
	if err := drawSVG(file, []line{
		{Work: "met", Ours: constant("s", "", 1), Theirs: &theirs, Against: "a", Target: target{ratioAtMost, 1.2}},
		{Work: "missed", Ours: constant("s", "", 9), Target: target{absoluteAtMost, 1.5}},
	}); err != nil {
		t.Fatal(err)
	}
	svg, err := os.ReadFile(file)
	for _, want := range []string{"<svg", "met: 0.1 × a", "missed: 9 s", "#D96C0C", "#1B7FB8"} {
		if !strings.Contains(string(svg), want) {
			t.Errorf("no %q in the picture (%v)", want, err)
		}
	}
}
