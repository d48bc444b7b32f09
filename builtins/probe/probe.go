// Package probe is the module probe: clients that use a service while a script does something to it, and
// say afterwards what they saw of that.
//
// probe.writes is about PostgreSQL. Its writers insert one row after the other, each in a transaction of
// its own, into a table of their own. What the server acknowledged is kept here, outside of the database
// (ledger.go); when the script's function is over, every row that was acknowledged must still be there
// (table.go). What the server did not acknowledge in time, or acknowledged with a warning, may be there or
// not, and is counted apart.
//
// A writer is the client that loses the least time over a failover (cluster.go): it dials all servers at
// once, each by a connection of its own, takes the first that accepts writes, and does not wait for the
// others. An application that dials them in turn waits longer.
//
// The connections are made from the machine that pgrun runs on, straight to the servers.
package probe

import (
	"time"

	"github.com/pgrun/pgrun/runtime/builtin"
	"github.com/pgrun/pgrun/runtime/postgres"
)

// Module returns the module probe.
func Module() builtin.Module {
	return builtin.Module{
		Name: "probe",
		Doc:  "Clients that use a service while a script does something to it, and say what they saw.",
		Builtins: []builtin.Builtin{
			&builtin.Control[writesParams]{
				Name: "writes", Positional: 1,
				Doc: "Calls a function while clients write to PostgreSQL, then looks whether every write that was acknowledged is still there, on the one server that takes writes by then. " +
					"The function has one parameter: a struct of acknowledged, indeterminate (counts) and gap (the longest time without an acknowledged write) so far, and first_write(besides = server, after = time), " +
					"the time of the first write that another server than that one, or any server after that time, acknowledged; None while there is none, " +
					"and gap_in(after = time, before = time), a struct of took and began: the longest time without an acknowledged write, of those that ended after the one and began before the other. " +
					"Returns a struct of value (what the function returned), acknowledged, indeterminate, gap, gap_began (its beginning; None before the first acknowledgement), " +
					"lost: a list of the writes that are gone, with writer, number, server and at, unverified: why they could not be looked for, empty where they could, " +
					"overlapping: a list of the acknowledged writes of a server in whose place another one had acknowledged later ones by then, as lost, " +
					"and servers: a list of structs with name, acknowledged, first and last (times of its acknowledgements), reads (answers to readers), " +
					"stale_reads (those in which it called itself the primary, and lacked what had been acknowledged), first_stale and last_stale (times). " +
					"The table pgrun_probe is made in the database, by a role that may do so, and dropped at the end.",
				Defaults: writesParams{
					Port: postgres.DefaultPort, Writers: 4, Every: 20 * time.Millisecond, WriteTimeout: time.Second, Timeout: 30 * time.Second,
				},
				Call: writes,
			},
		},
	}
}
