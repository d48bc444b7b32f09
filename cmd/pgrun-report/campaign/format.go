// Package campaign is what a failover campaign leaves in its directory, and what it adds up to.
//
// failover_campaign.star does something to a formation again and again, a cycle each: it kills the primary, or cuts it
// off. All the while clients write and read, and every acknowledged write is looked for afterwards.
// The directory has
//
//	campaign.json     what was planned, with what, on what: Campaign
//	cycle-0001.json   what happened in the first cycle: Cycle
//	cycle-0002.json   ...
//
// The structs below are the format. A field with omitempty may be left out, or be null; every other one has to be
// there, and none that is not named here may be. All times are seconds after the fault, but for Started and Began.
package campaign

import "time"

// Version is that of the format.
const Version = 1

// Campaign is campaign.json, and the cycles that are beside it.
type Campaign struct {
	Version  int               `json:"version"`
	Seed     int64             `json:"seed"`
	Started  time.Time         `json:"started"`  // RFC 3339
	Faults   []string          `json:"faults"`   // all that are done, in the order to show them; the first is the main one
	Planned  int               `json:"cycles"`   // how many there are to be
	Versions map[string]string `json:"versions"` // pgrun, incus, postgresql, pg_auto_failover, kernel, distribution, ...
	Settings map[string]string `json:"settings"` // pgautofailover.health_check_period: 500ms, ...
	Machine  string            `json:"machine"`
	Targets  []Target          `json:"targets,omitempty"`
	Command  string            `json:"command,omitempty"` // what does the same again; pgrun failover_campaign.star -e seed=... if left out

	Cycles []Cycle `json:"-"` // in their order
}

// Target is how long something is to take: where it says nothing else, until clients can write again.
type Target struct {
	Fault  string   `json:"fault"`
	Guard  bool     `json:"guard"`
	Timers string   `json:"timers"`
	Of     Figure   `json:"of,omitempty"`
	P50    *float64 `json:"p50,omitempty"`
	Max    *float64 `json:"max,omitempty"`
}

// Figure is what a target is of.
type Figure string

// The figures that there are targets of: those of a cycle that are called so, and the time from undone to rejoined.
const (
	Writable Figure = "writable" // where a target names none
	Rejoin   Figure = "rejoin"
	Gap      Figure = "gap"
)

// Group is what the formation relied on. Cycles of different groups are never added up into one time.
type Group struct {
	Timers string `json:"timers"` // fast, default, ...
	Guard  bool   `json:"guard"`  // pgrun guard ran
}

// Cycle is a cycle-NNNN.json: one fault, and what came of it.
type Cycle struct {
	Version  int       `json:"version"`
	Number   int       `json:"cycle"` // from 1; that of the file's name
	Fault    string    `json:"fault"`
	Guard    bool      `json:"guard"`
	Timers   string    `json:"timers"`
	Run      int       `json:"run"`      // which of those with the same fault, guard and timers, from 0
	Expected []Outcome `json:"expected"` // one of these
	Outcome  Outcome   `json:"outcome"`
	OK       bool      `json:"ok"`
	Why      string    `json:"why,omitempty"`     // why it is not OK
	Victim   string    `json:"victim,omitempty"`  // the instance that it was done to
	Primary  string    `json:"primary,omitempty"` // the one that is the primary afterwards
	Began    time.Time `json:"began"`             // the fault; RFC 3339 with a fraction
	Events   []Event   `json:"events"`
	Times    Times     `json:"times"`

	Acknowledged  int  `json:"acknowledged"`  // writes that were
	Indeterminate int  `json:"indeterminate"` // writes of which the client cannot know
	Lost          *int `json:"lost"`          // acknowledged, and not there afterwards; null where that could not be verified
	Overlapping   int  `json:"overlapping"`   // commits that one server acknowledged after another one had begun to
	StaleReads    int  `json:"stale_reads"`   // that lacked a write which was acknowledged before they began
	Reads         int  `json:"reads"`

	Gap *float64 `json:"gap,omitempty"` // longest time without an acknowledged write
}

// Times are when each first was so. Those that never were are left out.
type Times struct {
	Detected *float64 `json:"detected,omitempty"` // somebody saw that the primary is gone
	Fenced   *float64 `json:"fenced,omitempty"`   // the old primary cannot write any more
	Promoted *float64 `json:"promoted,omitempty"` // the standby is out of recovery
	Writable *float64 `json:"writable,omitempty"` // a client's write was acknowledged
	Undone   *float64 `json:"undone,omitempty"`   // the fault was taken back
	Rejoined *float64 `json:"rejoined,omitempty"` // there are a primary and a standby again
}

// Event is something that somebody saw.
type Event struct {
	At   float64 `json:"at"` // may be before the fault
	Who  string  `json:"who"`
	What string  `json:"what"`
}

// Outcome is what a fault leads to.
type Outcome string

// The outcomes. A cycle may have ended not healthy, and none is expected to.
const (
	Failover    Outcome = "failover"
	Resumes     Outcome = "resumes by itself" // the same primary takes writes again, with the fault still there
	Unavailable Outcome = "unavailable until healed"
	NoEffect    Outcome = "no effect"
	Switchover  Outcome = "switchover"
	NotHealthy  Outcome = "not healthy"
)

var expectable = []Outcome{Failover, Resumes, Unavailable, NoEffect, Switchover}

// Group is the one that the cycle belongs to.
func (c *Cycle) Group() Group { return Group{c.Timers, c.Guard} }

// String is how a group is called: fast timers, guarded.
func (g Group) String() string {
	if g.Guard {
		return g.Timers + " timers, guarded"
	}
	return g.Timers + " timers, not guarded"
}

// Repeat is the command that does the campaign again.
func (c *Campaign) Repeat() string {
	if c.Command != "" {
		return c.Command
	}
	return "pgrun failover_campaign.star -e seed=" + decimal(c.Seed)
}
