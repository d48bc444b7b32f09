// Package systemd is the module systemd: unit files and drop-ins, and the units that systemd runs.
//
// A builtin asks systemd once, over D-Bus, and that is all that a run does which finds everything in place, but for
// the files that its arguments name, systemd.unit's own, and what is noted of reloads. What changes something is a command of systemctl's.
//
// # Restarts and reloads
//
// A service has to be restarted after its unit file has changed. That the file differed in this run is
// not enough to know: a run may be killed after it wrote the file and before it restarted the service.
// So the machine's state is asked instead, which any later run can do: the process must have been started after its
// unit file was last written, and the drop-ins that the administrator gave it. Both times are of the machine's own
// clock, as it was at each event, so that the operator's clock and time zones do not matter, and a clock that was set
// later changes neither. Monotonic times would not do: files have none. What is left is a clock that was set back
// between the two events. It can cause one needless restart, or hide what is changed before it has caught up; a file from the future, which would
// cause a restart in each run, does not count.
//
// systemd does not tell when it last reloaded a service: how the commands of ExecReload= ended it forgets whenever it reads its own files again.
// So pgrun notes each reload that succeeded (reload_if_newer), in /run/pgrun-reloads. One that others made, or whose note a killed run did not come to, is made
// once more.
//
// That systemd wants to read its files again (NeedDaemonReload) is no reason to restart anything: since version 255 it
// says so of every unit once somebody has enabled one and told it nothing.
//
// # Failures
//
// That systemctl start returns says little of a service of Type=simple: its program may end at once. It
// is watched for a moment longer (settle). Where a unit does not come up, the error tells its state and
// the last lines of its journal since this start.
package systemd

import (
	"time"

	"github.com/pgrun/pgrun/runtime/builtin"
)

// Module returns the module systemd.
func Module() builtin.Module {
	run := runParams{Timeout: 2 * time.Minute, Settle: 500 * time.Millisecond}
	return builtin.Module{
		Name: "systemd",
		Doc:  "Units of systemd: their files, whether they run, whether they start at boot. A name without a suffix means a service: \"nginx\" is \"nginx.service\".",
		Builtins: []builtin.Builtin{
			&builtin.Action[unitParams]{
				Name: "unit",
				Doc: "Gives a unit its file, /etc/systemd/system/NAME, or with dropin a file that adds to the one it has, " +
					"and brings it to a state: enabled and started, unless told otherwise. A running unit is restarted when its file, or a drop-in of it, in /etc/systemd/system is newer than its process. " +
					"A template (\"worker@.service\") has no state: its running instances are restarted; start one with systemd.started(h, \"worker@1\").",
				Defaults: unitParams{
					State: builtin.Some("started"), Enabled: builtin.Some(true), RestartOnChange: true, runParams: run,
				},
				Check: checkUnit,
			},
			&builtin.Action[startedParams]{
				Name:     "started",
				Doc:      "Starts a unit that is not running; restarts or reloads one that runs with older files than those named.",
				Defaults: startedParams{runParams: run},
				Check:    checkStarted,
			},
			&builtin.Action[nameParams]{
				Name:     "stopped",
				Doc:      "Stops a unit that is running. A unit that failed is stopped already.",
				Defaults: nameParams{Timeout: 2 * time.Minute},
				Check:    checkStopped,
			},
			&builtin.Action[nameParams]{
				Name:     "enabled",
				Doc:      "Has a unit start at boot, as the [Install] section of its file says. It is not started now. Of an alias, the unit counts that it stands for.",
				Defaults: nameParams{Timeout: 2 * time.Minute},
				Check:    checkEnabled,
			},
			&builtin.Action[nameParams]{
				Name:     "disabled",
				Doc:      "Keeps a unit from starting at boot. It is not stopped now, and others may still start it: see systemd.masked.",
				Defaults: nameParams{Timeout: 2 * time.Minute},
				Check:    checkDisabled,
			},
			&builtin.Action[nameParams]{
				Name:     "masked",
				Doc:      "Makes it impossible to start a unit, which need not exist yet. One that runs is not stopped.",
				Defaults: nameParams{Timeout: 2 * time.Minute},
				Check:    checkMasked,
			},
			&builtin.Action[nameParams]{
				Name:     "unmasked",
				Doc:      "Ends systemd.masked.",
				Defaults: nameParams{Timeout: 2 * time.Minute},
				Check:    checkUnmasked,
			},
			&builtin.Action[restartedParams]{
				Name:     "restarted",
				Doc:      "Restarts a unit, whatever its state: every run changes. To restart when a file has changed, see restart_if_newer of systemd.started.",
				Defaults: restartedParams{runParams: run},
				Check:    checkRestarted,
			},
			&builtin.Action[nameParams]{
				Name:     "reloaded",
				Doc:      "Has a running service read its configuration again, which reload_if_newer takes into account: every run changes. To reload when a file has changed, see reload_if_newer of systemd.started.",
				Defaults: nameParams{Timeout: 2 * time.Minute},
				Check:    checkReloaded,
			},
			&builtin.Action[daemonReloadParams]{
				Name:     "daemon_reload",
				Doc:      "Has systemd read the files of its units again, where it says that some have changed. systemd.unit does so by itself.",
				Defaults: daemonReloadParams{Timeout: 2 * time.Minute},
				Check:    checkDaemonReload,
			},
			&builtin.Action[nameParams]{
				Name:     "absent",
				Doc:      "Stops and disables a unit, and removes its file and drop-ins in /etc/systemd/system; of a template, also its instances. The unit of a package is an error: remove the package.",
				Defaults: nameParams{Timeout: 2 * time.Minute},
				Check:    checkAbsent,
			},
			&builtin.Look[statusParams, status]{
				Name: "status",
				Doc:  "Returns how a unit is. One that does not exist is no error: its load is \"not-found\".",
				Run:  lookAtStatus,
			},
		},
	}
}

// The parameters that several builtins have.
type (
	nameParams struct {
		Name    string        `star:"name,required" doc:"The unit's name; without a suffix, a service's."`
		Timeout time.Duration `star:"timeout" doc:"The longest to wait for systemd."`
	}

	// runParams are those of builtins that start something.
	runParams struct {
		Timeout time.Duration `star:"timeout" doc:"The longest that the unit may take to be up."`
		Settle  time.Duration `star:"settle" doc:"How long a service that does not tell when it is ready (Type=simple, exec or idle) must stay up to count as started."`
	}
)
