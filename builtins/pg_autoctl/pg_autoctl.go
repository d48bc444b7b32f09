// Package pgautoctl holds the builtins of the module pg_autoctl: they build and keep formations of
// pg_auto_failover, 2.0 and later.
//
// A formation is a monitor, a PostgreSQL server with the extension pgautofailover that knows every node
// and decides what each is to be, and data nodes, each with a keeper (pg_autoctl run, started by a systemd
// unit that the playbook writes) which reports to the monitor and does what it is told. So there are three
// ways to look and act, and none of them needs a password:
//
//   - pg_autoctl's own files on a node (layout.go): its settings, its state file, and the mark of a
//     creation that is not finished. They tell how far a node has come;
//   - the monitor's tables, read through its host's Unix socket (registry.go);
//   - a data node's server, read the same way (server.go).
//
// The program pg_autoctl itself is run only to create a monitor or a node (create.go) and to change its
// settings. What the formation as a whole is told goes to the monitor as SQL: the 2.0 and 2.2 command lines
// mishandle the number of a group and then do not wait for what they began.
//
// What a second run finds after a first was cut off is the hard part of node; situation.go gathers it and
// decide.go, which looks at nothing, says what to do.
//
// Settings files, pg_hba.conf, passwords, certificates and units belong to the playbook.
package pgautoctl

import (
	"time"

	"github.com/pgrun/pgrun/runtime/builtin"
	"github.com/pgrun/pgrun/runtime/postgres"
)

// Module returns the module pg_autoctl.
func Module() builtin.Module {
	at := server{Port: postgres.DefaultPort, Socket: postgres.DefaultSocket}
	onMonitor := registry{server: at, Formation: "default", Timeout: 2 * time.Minute}
	made := creation{server: at, Service: "pg_autoctl.service", SSLMode: "verify-full", Locale: "C.UTF-8"}
	return builtin.Module{
		Name: "pg_autoctl",
		Doc: "Formations of pg_auto_failover: a monitor, data nodes, failover and switchover. Looks at servers through their Unix sockets as postgres (peer authentication). " +
			"The systemd unit, settings files, pg_hba.conf and passwords are the playbook's to write.",
		Builtins: []builtin.Builtin{
			&builtin.Action[monitorParams]{
				Name: "monitor",
				Doc: "Makes a monitor exist. Runs initdb, so that nothing ever listens with trust, and pg_autoctl create monitor, as far as either is missing; refuses where data would be left behind in another pgdata. " +
					"What include names, the certificates and the directory that pgdata is in must be there before. Does not start the service.",
				Defaults: monitorParams{creation: made, Timeout: 10 * time.Minute},
				Check:    checkMonitor,
			},
			&builtin.Action[nodeParams]{
				Name: "node",
				Doc: "Makes a data node exist and be registered: as the first of its formation with a cluster of its own, else as a standby by a base backup of the primary. " +
					"The monitor says which. Takes up what an earlier run left half-way, and makes a node anew that has no data any more, if its service is stopped and another one is the primary; refuses where it could lose data, or leave it behind in another pgdata. Does not start the service.",
				Defaults: nodeParams{creation: made, MonitorPort: postgres.DefaultPort, Formation: "default", Database: "postgres", Timeout: time.Hour},
				Result:   nodeResult{},
				Check:    checkNode,
			},
			&builtin.Action[configParams]{
				Name: "config",
				Doc: "Makes settings of pg_autoctl itself, as pg_autoctl config set does, and lets the running service read them, also where an earlier run was cut off before that. " +
					"A service that is busy for longer than 15 s, as with a base backup, reads them afterwards: the call says so, and the next tells it again, which is an error where it is still busy: wait first until the node is up.",
				Defaults: configParams{Service: made.Service},
				Check:    checkConfig,
			},
			&builtin.Action[registerParams]{
				Name: "register",
				Doc: "Registers data nodes that a new monitor does not know, after the old one was lost: the primary first, then its standbys. " +
					"Call it for the monitor's host. Hosts that hold no node yet are left to pg_autoctl.node; a node that the monitor does not know and that does not run is an error, as it may be the one with the data.",
				Defaults: registerParams{registry: onMonitor, MonitorPort: postgres.DefaultPort, Service: made.Service, SSLMode: made.SSLMode},
				Check:    checkRegister,
			},
			&builtin.Look[stateParams, State]{
				Name: "state",
				Doc: "Returns what the monitor knows of a formation, whether that is a healthy baseline, and if not why. " +
					"Call it for the monitor's host. With hosts, the data nodes' servers are asked, too; one that does not answer is a problem, not an error.",
				Defaults: stateParams{server: at, Formation: "default", ReportAge: 5 * time.Second, HostTimeout: 5 * time.Second},
				Run:      state,
			},
			&builtin.Look[uriParams, builtin.Text]{
				Name: "uri",
				Doc: "Returns a connection URI of the formation for applications, with all its data nodes; a secret when it holds a password. " +
					"Call it for the monitor's host.",
				Defaults: uriParams{server: at, Formation: "default", SSLMode: "verify-full", TargetSessionAttrs: "read-write", ConnectTimeout: 2},
				Run:      uri,
			},
			&builtin.Look[monitorURIParams, string]{
				Name: "monitor_uri",
				Doc:  "Returns the URI by which data nodes reach the monitor, without a password. Call it for the monitor's host.",
				Run:  monitorURI,
			},
			&builtin.Action[formationParams]{
				Name: "formation",
				Doc: "Sets how many standbys must have a commit before it is acknowledged, and writes wait when fewer are left. " +
					"N needs N + 1 standbys; with 0 and a standby, commits wait for it as long as it is there. Call it for the monitor's host when the formation is healthy.",
				Defaults: formationParams{registry: onMonitor},
				Result:   formationResult{},
				Check:    checkFormation,
			},
			&builtin.Action[nodeSettingsParams]{
				Name:     "node_settings",
				Doc:      "Sets a data node's part in replication and failover. Call it for the monitor's host when the formation is healthy.",
				Defaults: nodeSettingsParams{registry: onMonitor},
				Check:    checkNodeSettings,
			},
			&builtin.Action[performParams]{
				Name: "perform",
				Doc: "Makes another node the primary. A failover ends with that, for the old one may be gone; the others wait until the formation is settled again, with the old one restarted as a standby. A promotion of the primary changes nothing; " +
					"a switchover wants a healthy formation, a failover only one that the monitor lets fail over. Call it for the monitor's host.",
				Defaults: performParams{registry: onMonitor},
				Result:   performResult{},
				Check:    checkPerform,
			},
			&builtin.Action[maintenanceParams]{
				Name: "maintenance",
				Doc: "Puts a data node into maintenance, in which it is not promoted and pg_autoctl leaves its PostgreSQL alone, or takes it out, and waits for that. " +
					"With two data nodes, commits are not synchronous meanwhile. Call it for the monitor's host.",
				Defaults: maintenanceParams{registry: onMonitor, Enabled: true},
				Check:    checkMaintenance,
			},
			&builtin.Action[dropParams]{
				Name: "drop",
				Doc: "Removes a standby, or the only node, from its formation. Its data stays; its service stops PostgreSQL and ends by itself. " +
					"One that does not answer for 30 seconds is removed all the same. Call it for the monitor's host.",
				Defaults: dropParams{registry: onMonitor},
				Result:   dropResult{},
				Check:    checkDrop,
			},
			&builtin.Action[reloadParams]{
				Name: "reload",
				Doc: "Makes the host's PostgreSQL read its settings, pg_hba.conf, pg_ident.conf and certificates again, where one of the files is newer than what it runs with. " +
					"Files with errors are refused before anything reads them.",
				Defaults: reloadParams{server: at, Timeout: 30 * time.Second},
				Result:   reloadResult{},
				Check:    checkReload,
			},
			&builtin.Look[waitingParams, []string]{
				Name:     "pending_restart",
				Doc:      "Returns the names of the settings of the host's PostgreSQL that wait for a restart. A dry run that would have had it read its files counts those, too, that are written and not read yet.",
				Defaults: waitingParams{server: at},
				Run:      readWaiting,
			},
			&builtin.Action[restartParams]{
				Name: "restart",
				Doc: "Restarts the host's PostgreSQL where settings wait for that; pg_autoctl starts it again. " +
					"On a primary with standbys, where it would be a failover, it is refused: switch over instead, which restarts it as a standby.",
				Defaults: restartParams{waitingParams: waitingParams{server: at}, Service: made.Service, Timeout: 2 * time.Minute},
				Check:    checkRestart,
			},
		},
	}
}
