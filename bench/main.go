// Command bench measures pgrun beside what it is compared with, in one run and on the same containers, and prints
// the figures as a table. It writes them as JSON and draws a picture of them, too.
//
//	make build && go run ./bench            # as root, with the lab and its formation up
//	go run ./bench -rows 'process|size' -runs 3
//
// Two sides of a row take turns, A B A B, after a run of each that does not count, and their medians are compared. A
// missed target is shown and is no failure: how fast a machine is today is not for a program to judge.
//
// The lab's formation is stopped for rows that it would disturb, and brought up again.
//
// All containers that it makes are named pgrun-bench-* and have the mark user.pgrun.test. They are deleted at the
// end, and at the start, where an earlier run was killed.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"os/signal"
	"regexp"
	"strings"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// rows are all there is to measure, in the order of the table.
var rows = []row{
	{"no-op, beside the floor", up, noopFloor},
	{"no-op, beside Ansible", up, noopAnsible},
	{"process start", stopped, processStart},
	{"sizes", asItIs, sizes},
	{"one look", stopped, oneLook},
	{"copy a file", stopped, copyFile},
	{"copy a directory", stopped, copyDirectory},
	{"fleet", stopped, fleet},
	{"memory", stopped, memory},
	{"first run", stopped, firstRun},
}

func run(ctx context.Context, args []string) (err error) {
	flags := flag.NewFlagSet("bench", flag.ExitOnError)
	var (
		pgrun   = flags.String("pgrun", "bin/pgrun", "the `program` to measure, see make build")
		only    = flags.String("rows", "", "run only rows whose name matches this `regexp`; the JSON keeps what it has of the others")
		runs    = flags.Int("runs", 5, "how many runs of each side count; slow rows do at most 3")
		warm    = flags.Int("warm-up", 1, "how many runs of each side go first and do not count")
		keep    = flags.Bool("keep", false, "leave the containers, and use those that are there")
		jsonOut = flags.String("json-out", "dist/bench.json", "`file` for the figures")
		svgOut  = flags.String("svg-out", "docs/performance.svg", "`file` for the picture")
		list    = flags.Bool("list", false, "list the rows, and measure nothing")
	)
	if err := flags.Parse(args); err != nil {
		return err
	}
	chosen, err := regexp.Compile(*only)
	if err != nil {
		return fmt.Errorf("-rows: %w", err)
	}
	if *runs < 1 || *warm < 0 || flags.NArg() > 0 {
		return errors.New("usage: bench [-rows REGEXP] [-runs N] [-warm-up N] [-keep] [-json-out FILE] [-svg-out FILE]")
	}
	if *list {
		for _, r := range rows {
			fmt.Println(r.name)
		}
		return nil
	}
	b, err := newBench(ctx, *pgrun, *warm, *runs, *keep)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.close()) }()

	report, err := readReport(*jsonOut)
	if err != nil {
		return err
	}
	report.Machine = thisMachine(ctx)
	var failed []string
	for _, r := range rows {
		if !chosen.MatchString(r.name) {
			continue
		}
		fmt.Fprintf(os.Stderr, "%s ...\n", r.name)
		begin := load()
		lines, err := []line(nil), b.wantFormation(ctx, r.formation)
		if err == nil {
			lines, err = r.measure(ctx, b)
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		report.set(r.name, lines, err, begin, load())
		if err != nil {
			failed = append(failed, r.name)
		}
		maps.Copy(report.Versions, versions(ctx, b.pgrun))
		// After each, so that a row which fails or is cut off takes none of the others with it.
		if err := report.write(*jsonOut); err != nil {
			return err
		}
	}
	report.print(os.Stdout)
	if len(failed) > 0 {
		return fmt.Errorf("not measured, see above, and no picture drawn: %s", strings.Join(failed, "; "))
	}
	return drawSVG(*svgOut, report.lines())
}
