// Package process is the module process: programs that run in the background on a machine which has no
// service manager to run them, such as a container whose process 1 is no systemd.
//
// A process is known by a name. Who it is stands in a note in /run: its number, when it started and in
// which boot, so that another process that has the number later, or a note that outlived a reboot, is not
// taken for it. It belongs to nobody's session: it goes on when pgrun ends.
package process

import (
	"time"

	"github.com/pgrun/pgrun/runtime/builtin"
)

// Module returns the module process.
func Module() builtin.Module {
	return builtin.Module{
		Name: "process",
		Doc:  "Programs in the background, on machines without a service manager: one with systemd has units (systemd.unit) for that.",
		Builtins: []builtin.Builtin{
			&builtin.Action[startedParams]{
				Name:   "started",
				Doc:    "Starts a program in the background, unless the one that was started under this name still runs. With what arguments that was started is not looked at.",
				Result: number{},
				Check:  checkStarted,
			},
			&builtin.Action[stoppedParams]{
				Name:     "stopped",
				Doc:      "Ends the program that was started under a name, by SIGTERM, with kill_after by SIGKILL if need be, and waits until it is gone. Where nothing was started, or it has ended, there is nothing to do.",
				Defaults: stoppedParams{Timeout: 30 * time.Second},
				Check:    checkStopped,
			},
			&builtin.Look[nameParams, status]{
				Name: "status",
				Doc:  "Tells whether the program that was started under a name still runs.",
				Run:  lookStatus,
			},
		},
	}
}
