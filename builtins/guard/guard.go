// Package guard is the module guard: it watches the primary of a formation of pg_auto_failover from where its
// container can be seen from outside, and has the standby take over as soon as the primary is dead or hangs.
//
// pg_auto_failover has to wait, for it cannot know that a node which it does not hear of is not alive behind a
// broken network. Who owns the containers can: a stopped container writes nothing. So the guard does what its
// keeper cannot do from the grave. It asks the monitor for the promotion, which the monitor refuses unless
// the standby has every acknowledged write; it stops the old primary, unless somebody else does; and it reports that it is stopped
// to the monitor, which then need not wait for it. Each of the three is safe without the next: a guard that dies
// leaves a failover that another guard, or pg_auto_failover by itself, finishes.
//
// The parts: a view is one fresh look at everything (view.go, monitor.go, machine.go; sign.go has the signs of
// life); decide says from a view alone what is to be done, and is all there is to be proven safe (decide.go);
// steps are done one at a time, each followed by another look, beside a fence at most, which takes seconds (run.go, act.go).
package guard

import (
	"time"

	"github.com/pgrun/pgrun/runtime/builtin"
)

// Module returns the module guard.
func Module() builtin.Module {
	return builtin.Module{
		Name: "guard",
		Doc:  "Watches over a formation of pg_auto_failover in Incus instances, for a failover in seconds.",
		Builtins: []builtin.Builtin{
			&builtin.Control[params]{
				Name: "formation", Positional: 1,
				Doc: "Guards a formation until the run ends. Where the primary's instance is stopped or being stopped, or gives no sign of life in any way for a while, asks the monitor to promote the standby, " +
					"which the monitor does only where no acknowledged write can be lost; stops the old primary by force where nobody else does, also one that the monitor itself replaces and that is cut off from it, and tells the monitor so. Starts again what it has stopped, as soon as that may come back as a standby. " +
					"Never acts without the monitor, the Incus daemon and the guards' lock in the monitor, which one guard has at a time, nor on a node whose instance has the configuration user.pgrun.guard = off, " +
					"nor where there are more than two data nodes. A dry run says what it would do. Needs the right to stop and start the instances and to set their configuration.",
				Defaults: params{guarded: defaults},
				Call:     guardFormation,
			},
			&builtin.Control[duringParams]{
				Name: "during", Positional: 2,
				Doc: "Guards a formation as guard.formation does while a function runs, which is called once the guard has the lock and sees a primary and a standby that answer. " +
					"Returns a struct of value, what the function returned, and steps: a list of structs, one for each step that the guard tried, with step (\"ask\", \"fence\", \"report\", \"promote\", \"let in\" or \"unmark\"), " +
					"node (its name), at (when it was begun), took (a duration) and error (a string, empty where it was done). " +
					"The guard ends with the function, however that ends, and leaves stopped what it has not let in again by then. A dry run calls the function alone.",
				Defaults: duringParams{guarded: defaults, Timeout: 30 * time.Second},
				Call:     during,
			},
		},
	}
}
