// Package apt holds the builtins that keep Debian and Ubuntu packages as a playbook wants them.
//
// What is installed is read from dpkg's database, with one dpkg-query for all calls until dpkg writes: that is
// all that a run does which finds everything in place. The package lists are consulted only when there is
// something to install, refreshed only when they are too old for that, and versions in a dry run come from
// apt-get's own simulation.
//
// Nothing here ever asks a question: debconf takes its defaults, a configuration file that was edited on
// the machine is kept, needrestart restarts nothing. Where another process holds one of APT's or dpkg's
// locks, it is waited for. An installation that was cut off half-way is finished first.
//
// dpkg syncs every file that it unpacks to the disk, which can be half of the time that an installation takes.
// Where a machine is thrown away anyway after a power cut, tell dpkg so, for it is no business of a call's:
// file.content(h, "/etc/dpkg/dpkg.cfg.d/unsafe-io", content = "force-unsafe-io\n").
//
// The files, in reading order: install.go and its parts (wanted.go, status.go, policy.go, lists.go,
// transaction.go, missing.go), get.go, which runs apt-get, and then the smaller builtins.
package apt

import (
	"time"

	"github.com/pgrun/pgrun/runtime/builtin"
)

// Module returns the module apt.
func Module() builtin.Module {
	return builtin.Module{
		Name: "apt",
		Doc:  "Packages and package repositories of Debian and Ubuntu. Nothing in it ever prompts; it waits for other package managers to finish.",
		Builtins: []builtin.Builtin{
			&builtin.Action[installParams]{
				Name: "install",
				Doc: "Installs packages. One that is there stays at its version, unless state is \"latest\" or a version is asked for. " +
					"Configuration files that were changed on the machine are kept. A held package is never changed. " +
					"A package that another installed one provides, such as awk, counts as installed.",
				Defaults: installParams{State: present, Update: builtin.Some(time.Hour), Timeout: 30 * time.Minute, LockTimeout: 5 * time.Minute},
				Result:   versions{},
				Check:    checkInstall,
			},
			&builtin.Action[removeParams]{
				Name:     "remove",
				Doc:      "Removes packages, and those that cannot be without them. A package that is not installed is no error.",
				Defaults: removeParams{Timeout: 30 * time.Minute, LockTimeout: 5 * time.Minute},
				Check:    checkRemove,
			},
			&builtin.Action[holdParams]{
				Name:     "hold",
				Doc:      "Keeps installed packages at the version that they have: no upgrade and no removal touches them.",
				Defaults: holdParams{LockTimeout: 5 * time.Minute},
				Check:    checkHold,
			},
			&builtin.Action[holdParams]{
				Name:     "unhold",
				Doc:      "Ends apt.hold.",
				Defaults: holdParams{LockTimeout: 5 * time.Minute},
				Check:    checkUnhold,
			},
			&builtin.Action[updateParams]{
				Name: "update",
				Doc: "Refreshes the package lists where they are older than max_age, or a repository was changed since. " +
					"apt.install does so by itself when it has something to install.",
				Defaults: updateParams{MaxAge: time.Hour, Timeout: 10 * time.Minute, LockTimeout: 5 * time.Minute},
				Check:    checkUpdate,
			},
			&builtin.Action[repositoryParams]{
				Name: "repository",
				Doc: "Adds a package repository, as /etc/apt/sources.list.d/NAME.sources, with the key that its packages must be signed with and that is trusted for it alone. " +
					"The key is given by one of key, key_file, key_url and signed_by; one that comes from a URL must be pinned.",
				Defaults: repositoryParams{State: present, Types: "deb", Update: true, Timeout: 10 * time.Minute, LockTimeout: 5 * time.Minute},
				Check:    checkRepository,
			},
			&builtin.Look[packagesParams, map[string]*string]{
				Name: "installed",
				Doc:  "Returns a dict of the packages asked for and the version that is installed of each, None for one that is not.",
				Run:  installed,
			},
			&builtin.Look[candidateParams, *string]{
				Name: "candidate",
				Doc:  "Returns the version of a package that would be installed, by the package lists as they are on the machine; None where they have none.",
				Run:  candidate,
			},
		},
	}
}

// The values of state.
const (
	present = "present"
	latest  = "latest"
	absent  = "absent"
)
