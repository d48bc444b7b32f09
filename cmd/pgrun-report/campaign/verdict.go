package campaign

import (
	"fmt"
	"slices"
	"strings"
)

// NotOK says why a cycle is not as it should be, and nothing where it is. What the playbook thinks of it does not
// outweigh a lost write or an overlap. Stale reads are counted apart: some timers accept them.
func (c *Cycle) NotOK() string {
	var why []string
	if !c.OK {
		switch {
		case c.Why != "":
			why = append(why, c.Why)
		case slices.Contains(c.Expected, c.Outcome):
			why = append(why, "the campaign calls it not ok, and says no reason")
		}
	}
	if c.OK || c.Why == "" {
		if !slices.Contains(c.Expected, c.Outcome) {
			why = append(why, fmt.Sprintf("%s in place of %s", c.Outcome, words(c.Expected)))
		}
	}
	if c.OK {
		if c.Lost != nil && *c.Lost > 0 {
			why = append(why, Counted(*c.Lost, "acknowledged write lost", "acknowledged writes lost"))
		}
		if c.Overlapping > 0 {
			why = append(why, Counted(c.Overlapping, "overlapping commit", "overlapping commits"))
		}
	}
	return strings.Join(why, "; ")
}

// verdict is the one sentence that the campaign was made for.
func (t *Totals) verdict() string {
	cycles := Counted(t.Cycles, "cycle", "cycles")
	writes := Counted(t.Acknowledged, "acknowledged write", "acknowledged writes")
	switch {
	case t.Lost > 0:
		return fmt.Sprintf("%s of %s lost, in %s of %s", Count(t.Lost), writes, Count(t.LostCycles), cycles)
	case t.Unverified == t.Cycles:
		return fmt.Sprintf("%s, %s: whether any was lost could not be verified", cycles, writes)
	case t.Unverified > 0:
		return fmt.Sprintf("%s, %s: none lost of the %s that could be verified", cycles, writes, Count(t.Acknowledged-t.UnverifiedOf))
	}
	return fmt.Sprintf("%s, %s, none lost", cycles, writes)
}

func (s *Summary) remarks() (all []string) {
	t := &s.Totals
	say := func(format string, args ...any) { all = append(all, fmt.Sprintf(format, args...)) }

	if n := t.Cycles - t.AsExpected; n == 0 {
		say("Every cycle ended as expected.")
	} else {
		say("%s of %s did not end as expected.", Count(n), Counted(t.Cycles, "cycle", "cycles"))
	}
	if t.Overlapping > 0 {
		say("%s overlapped, in %s: for a time two servers took writes.",
			Counted(t.Overlapping, "acknowledged commit", "acknowledged commits"), Counted(t.OverlapCycles, "cycle", "cycles"))
	}
	if t.StaleReads > 0 {
		say("%s of %s stale, in %s.", Count(t.StaleReads), Counted(t.Reads, "read", "reads"), Counted(t.StaleCycles, "cycle", "cycles"))
	}
	if t.Unverified > 0 {
		say("Whether writes were lost could not be verified in %s, of %s.",
			Counted(t.Unverified, "cycle", "cycles"), Counted(t.UnverifiedOf, "acknowledged write", "acknowledged writes"))
	}
	if t.Cycles < s.Planned {
		say("%s of %s planned cycles were done: it was cut off, or still runs.", Count(t.Cycles), Count(s.Planned))
	}
	if len(t.Missing) > 0 {
		say("There are no files of %s: %s.", Counted(len(t.Missing), "cycle", "cycles"), runs(t.Missing))
	}
	missed, unmeasured := 0, 0
	for _, r := range s.Targets {
		switch r.Outcome {
		case Missed:
			missed++
		case NotMeasured:
			unmeasured++
		}
	}
	if missed > 0 {
		say("%s of %s missed.", Count(missed), Counted(len(s.Targets), "target", "targets"))
	}
	if unmeasured > 0 {
		say("%s of %s not measured.", Count(unmeasured), Counted(len(s.Targets), "target", "targets"))
	}
	return all
}

// runs writes sorted numbers briefly: 3, 7 to 9.
func runs(numbers []int) string {
	var all []string
	for i := 0; i < len(numbers); {
		j := i
		for j+1 < len(numbers) && numbers[j+1] == numbers[j]+1 {
			j++
		}
		if i == j {
			all = append(all, fmt.Sprint(numbers[i]))
		} else {
			all = append(all, fmt.Sprintf("%d to %d", numbers[i], numbers[j]))
		}
		i = j + 1
	}
	return strings.Join(all, ", ")
}
