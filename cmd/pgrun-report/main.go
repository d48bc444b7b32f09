// Command pgrun-report sums up what failover_campaign.star has found out, as a page, as JSON and as a table.
//
//	pgrun-report DIRECTORY [-o report.html] [--json summary.json] [--check]
//
// It is a program of its own: what draws plots has no place in pgrun, which is to stay small.
//
// Exit codes: 0 done; 1 with --check, a cycle was not as expected, or what was found could not be written; 3 a mistake
// in the command line, or in the campaign's files.
package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/pgrun/pgrun/cmd/pgrun-report/campaign"
	"github.com/pgrun/pgrun/cmd/pgrun-report/page"
)

// The exit codes mean what pgrun's do.
const (
	done   = 0
	failed = 1
	cannot = 3
)

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

func run(args []string, stdout, stderr io.Writer) int {
	asked, err := parse(args, stderr)
	if errors.Is(err, flag.ErrHelp) {
		return done
	}
	if err != nil {
		fmt.Fprintf(stderr, "pgrun-report: %s\npgrun-report --help lists the options.\n", visible(err.Error()))
		return cannot
	}
	c, err := campaign.Read(asked.dir)
	if err != nil {
		fmt.Fprintf(stderr, "pgrun-report: %s\n", visible(err.Error()))
		return cannot
	}
	sum := c.Sum()
	if err = writePage(asked.page, c, sum); err == nil {
		err = writeJSON(asked.json, sum)
	}
	if err == nil {
		err = table(stdout, sum)
	}
	if err != nil {
		fmt.Fprintf(stderr, "pgrun-report: %s\n", visible(err.Error()))
		return failed
	}
	fmt.Fprintf(stdout, "\n%s\n%s\n", asked.page, asked.json)
	if asked.check && (!sum.Passed || sum.Totals.Cycles < sum.Planned) {
		return failed
	}
	return done
}

// options are the command line.
type options struct {
	dir, page, json string
	check           bool
}

func parse(args []string, stderr io.Writer) (options, error) {
	var o options
	flags := flag.NewFlagSet("pgrun-report", flag.ContinueOnError)
	flags.SetOutput(io.Discard) // an error is said once, by run
	flags.StringVar(&o.page, "o", "", "`file` for the page; DIRECTORY/report.html if left out")
	flags.StringVar(&o.json, "json", "", "`file` for the figures; DIRECTORY/summary.json if left out")
	flags.BoolVar(&o.check, "check", false, "exit with 1 where a cycle was not as expected: the campaign calls it so, its outcome is another one,\n"+
		"or it has lost writes or overlapping commits; where not all cycles are there, or none could be verified. Missed targets and stale reads do not count.")

	var dirs []string
	for {
		if err := flags.Parse(args); err != nil {
			if errors.Is(err, flag.ErrHelp) {
				fmt.Fprintln(stderr, "Usage: pgrun-report DIRECTORY [-o FILE] [--json FILE] [--check]\n\n"+
					"Sums up the campaign in DIRECTORY, which failover_campaign.star wrote: a page, JSON, a table.")
				flags.SetOutput(stderr)
				flags.PrintDefaults()
			}
			return o, err
		}
		// Options may stand behind the directory, too.
		if flags.NArg() == 0 {
			break
		}
		dirs, args = append(dirs, flags.Arg(0)), flags.Args()[1:]
	}
	if len(dirs) != 1 {
		return o, fmt.Errorf("name one directory of a campaign, not %d", len(dirs))
	}
	o.dir = dirs[0]
	if o.page == "" {
		o.page = filepath.Join(o.dir, "report.html")
	}
	if o.json == "" {
		o.json = filepath.Join(o.dir, "summary.json")
	}
	return o, nil
}

func writePage(file string, c *campaign.Campaign, sum *campaign.Summary) error {
	var html bytes.Buffer
	if err := page.Write(&html, c, sum); err != nil {
		return fmt.Errorf("draw the page: %w", err)
	}
	if err := os.WriteFile(file, html.Bytes(), 0o644); err != nil {
		return fmt.Errorf("write the page: %w: -o names another place", err)
	}
	return nil
}

func writeJSON(file string, sum *campaign.Summary) error {
	content, err := json.MarshalIndent(sum, "", "  ")
	if err != nil {
		return fmt.Errorf("write the figures: %w", err)
	}
	if err := os.WriteFile(file, append(content, '\n'), 0o644); err != nil {
		return fmt.Errorf("write the figures: %w: --json names another place", err)
	}
	return nil
}
