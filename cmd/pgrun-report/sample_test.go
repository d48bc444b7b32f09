package main

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/pgrun/pgrun/cmd/pgrun-report/campaign"
)

// sampleFault is a fault of the sample, and what it does.
type sampleFault struct {
	name     string
	expected campaign.Outcome
	writable float64 // typically, guarded, with fast timers
}

var sampleFaults = []sampleFault{
	{"forced stop", campaign.Failover, 1.6},
	{"freeze", campaign.Failover, 4.4},
	{"cut off from all", campaign.Failover, 5.1},
	{"host killed", campaign.Failover, 2.0},
	{"delete", campaign.Failover, 1.9},
	{"kernel panic", campaign.Failover, 2.3},
	{"PostgreSQL killed", campaign.Resumes, 1.1},
	{"postmaster stopped", campaign.Resumes, 0.9},
	{"keeper killed", campaign.NoEffect, 0},
	{"monitor stopped", campaign.NoEffect, 0},
	{"standby stopped", campaign.NoEffect, 0},
	{"standby frozen", campaign.NoEffect, 0},
	{"peers cut off from each other", campaign.Unavailable, 24},
	{"disk full", campaign.Unavailable, 31},
	{"disk read-only", campaign.Unavailable, 30},
	{"guard killed before a forced stop", campaign.Failover, 6.4},
	{"packet loss of 30 %", campaign.NoEffect, 0},
	{"planned switchover", campaign.Switchover, 1.1},
}

// sample writes a campaign as a real one could be: seeded, with a few cycles that failed, times that are not known,
// and losses that could not be verified.
func sample(t *testing.T, dir string, cycles int) {
	t.Helper()
	random := rand.New(rand.NewPCG(42, 1))
	started := time.Date(2026, 11, 27, 8, 0, 0, 0, time.UTC)
	var faults []string
	for _, f := range sampleFaults {
		faults = append(faults, f.name)
	}
	store(t, dir, "campaign.json", campaign.Campaign{
		Version: 1, Seed: 42, Started: started, Faults: faults, Planned: cycles,
		Versions: map[string]string{
			"pgrun": "v0.9.0", "incus": "6.0.4", "postgresql": "17.6", "pg_auto_failover": "2.2", "kernel": "6.12.48", "distribution": "Debian GNU/Linux 13 (trixie)",
		},
		Settings: map[string]string{
			"pgautofailover.health_check_period": "500ms", "pgautofailover.health_check_timeout": "500ms", "pgautofailover.health_check_max_retries": "1",
			"pgautofailover.node_considered_unhealthy_timeout": "2500ms", "pgautofailover.primary_demote_timeout": "20s", "wal_sender_timeout": "10s",
		},
		Machine: "2 processors (AMD EPYC), 24 GB of memory, Linux 6.12.48",
		Targets: []campaign.Target{
			{Fault: "forced stop", Guard: true, Timers: "fast", P50: known(1.7), Max: known(3)},
			{Fault: "freeze", Guard: true, Timers: "fast", P50: known(4), Max: known(8)},
			{Fault: "forced stop", Guard: false, Timers: "fast", P50: known(8)},
			{Fault: "delete", Guard: true, Timers: "default", Max: known(5)},
		},
	})
	groups := []campaign.Group{{Timers: "fast", Guard: true}, {Timers: "fast", Guard: true}, {Timers: "fast", Guard: false}, {Timers: "default", Guard: false}}
	for n := 1; n <= cycles; n++ {
		f := sampleFaults[(n*7)%len(sampleFaults)]
		if n%5 == 0 {
			f = sampleFaults[0]
		}
		began := started.Add(time.Duration(n) * 75 * time.Second)
		store(t, dir, fmt.Sprintf("cycle-%04d.json", n), sampleCycle(random, n, f, groups[random.IntN(len(groups))], began))
	}
}

func sampleCycle(random *rand.Rand, n int, f sampleFault, g campaign.Group, began time.Time) campaign.Cycle {
	about := func(seconds float64) *float64 {
		return known(float64(int(1000*seconds*(0.85+0.25*random.Float64()+0.15*random.ExpFloat64()))) / 1000)
	}
	victim, other := "pgaf-primary", "pgaf-replica"
	if random.IntN(2) == 0 {
		victim, other = other, victim
	}
	c := campaign.Cycle{
		Version: 1, Number: n, Fault: f.name, Guard: g.Guard, Timers: g.Timers, Expected: []campaign.Outcome{f.expected}, Outcome: f.expected, OK: true,
		Victim: victim, Primary: other, Began: began.Add(time.Duration(random.IntN(1e9))),
		Acknowledged: 900 + random.IntN(800), Indeterminate: random.IntN(5), Lost: new(int), Reads: 3000 + random.IntN(2000),
	}
	say := func(at *float64, who, what string) {
		c.Events = append(c.Events, campaign.Event{At: *at, Who: who, What: what})
	}
	say(known(-0.05-random.Float64()*0.2), "campaign", "the formation is healthy")
	switch f.expected {
	case campaign.Failover:
		typical := f.writable
		switch {
		case g.Timers == "default":
			typical += 44
		case !g.Guard:
			typical += 5
		}
		c.Times.Writable = about(typical)
		w := *c.Times.Writable
		c.Times.Promoted, c.Times.Undone, c.Times.Rejoined = known(w*0.8), known(w+*about(3)), known(w+*about(8))
		if g.Guard {
			c.Times.Detected, c.Times.Fenced = known(w*0.1), known(w*0.55)
			say(c.Times.Detected, "guard", victim+" is stopped")
			say(c.Times.Fenced, "incus", victim+" stopped")
		} else {
			c.Times.Detected = known(w * 0.6)
			say(c.Times.Detected, "monitor", victim+" is unhealthy")
		}
		say(c.Times.Promoted, "monitor", other+" is wait_primary")
		say(c.Times.Undone, "campaign", victim+" started")
		say(c.Times.Rejoined, "monitor", victim+" is secondary")
	case campaign.NoEffect:
		c.Primary = victim
		c.Times = campaign.Times{Writable: about(0.02), Undone: about(8), Rejoined: about(11)}
	case campaign.Resumes:
		c.Primary = victim
		c.Times = campaign.Times{Detected: about(0.3), Writable: about(f.writable)}
		c.Times.Rejoined = known(*c.Times.Writable + *about(2))
	case campaign.Unavailable:
		c.Primary = victim
		c.Times = campaign.Times{Detected: about(0.3), Undone: about(f.writable - 1)}
		c.Times.Writable = known(*c.Times.Undone + *about(1))
		c.Times.Rejoined = known(*c.Times.Writable + *about(2))
	case campaign.Switchover:
		c.Times = campaign.Times{Promoted: about(0.7), Writable: about(f.writable), Rejoined: about(4)}
	}
	if n != 37 {
		say(c.Times.Writable, "client", "a write was acknowledged")
	}
	c.Gap = known(*c.Times.Writable + 0.05)

	switch n {
	case 37:
		c.OK, c.Why, c.Outcome = false, "neither node was writable within 2m0s", campaign.NotHealthy
		c.Times.Promoted, c.Times.Writable, c.Times.Rejoined, c.Gap = nil, nil, nil, nil
	case 101:
		c.OK, c.Why, c.Lost = false, "3 acknowledged writes are not on pgaf-replica", new(3)
	case 203:
		c.OK, c.Outcome = false, campaign.Resumes
	case 260:
		c.StaleReads, c.Overlapping = 17, 2
	}
	if n%97 == 0 {
		c.Lost = nil
	}
	if n%31 == 0 {
		c.Times.Detected, c.Times.Rejoined = nil, nil
	}
	return c
}

func known(f float64) *float64 { return &f }

func store(t *testing.T, dir, name string, content any) {
	t.Helper()
	b, err := json.Marshal(content)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, name), b, 0o644); err != nil {
		t.Fatal(err)
	}
}
