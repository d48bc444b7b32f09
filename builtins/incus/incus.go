// Package incus holds the builtins that act on Incus itself: instances, profiles, networks, storage pools
// and images, in Incus's own words.
//
// The daemon that they act on is the host's: for an Incus instance the one that owns it, for a local host
// the one on that machine. A builtin about an instance means the host's own, unless it is told another
// name; on a local host it has to be.
//
// All of them are reconciles that own what they are given, and only that: a key which a call does not
// name stays as somebody else has set it, and nothing here removes what it was not told to remove. What
// they make carries user.pgrun.made, with its name.
package incus

import (
	"time"

	"github.com/pgrun/pgrun/runtime/builtin"
)

// Module returns the module incus.
func Module() builtin.Module {
	return builtin.Module{
		Name: "incus",
		Doc: "Instances, profiles, networks, storage pools and images of Incus. The daemon is the one that owns the host, or for a local host the one on that machine. " +
			"Only the settings that a call names are compared and changed.",
		Builtins: []builtin.Builtin{
			&builtin.Action[instanceParams]{
				Name: "instance",
				Doc: "Makes sure of an instance: creates it, gives it these settings, starts it and waits until it is up. " +
					"One that exists keeps its image, type, place and all settings that are not named here. Some settings take effect with its next start only. " +
					"An instance whose creation by this builtin was cut off, and that nobody has started or made a snapshot of since, is deleted and created again: it has the configuration " + creatingKey + ", " +
					"without which it stays.",
				Defaults: instanceParams{Type: "container", Started: true, waitParams: waitParams{Wait: waitAddress, Timeout: 2 * time.Minute}},
				Result:   made{},
				Check:    checkInstance,
			},
			&builtin.Action[configParams]{
				Name:  "config",
				Doc:   "Sets configuration keys of an instance that exists, running or not. Some take effect with its next start only.",
				Check: checkConfig,
			},
			&builtin.Action[startedParams]{
				Name:     "started",
				Doc:      "Starts an instance that is stopped, thaws one that is frozen, and waits until it is up.",
				Defaults: startedParams{waitParams: waitParams{Wait: waitAddress, Timeout: 2 * time.Minute}},
				Check:    checkStarted,
			},
			&builtin.Action[stoppedParams]{
				Name:     "stopped",
				Doc:      "Stops an instance: cleanly, or with force = True at once, like pulling the plug.",
				Defaults: stoppedParams{Timeout: time.Minute},
				Check:    checkStopped,
			},
			&builtin.Action[restartedParams]{
				Name:     "restarted",
				Doc:      "Restarts an instance, each time that it is called, and waits until it is up. One that is stopped is started.",
				Defaults: restartedParams{waitParams: waitParams{Wait: waitAddress, Timeout: 2 * time.Minute}},
				Check:    checkRestarted,
			},
			&builtin.Action[frozenParams]{
				Name:  "frozen",
				Doc:   "Suspends all processes of a running instance. incus.started lets them go on.",
				Check: checkFrozen,
			},
			&builtin.Action[absentParams]{
				Name:     "absent",
				Doc:      "Deletes an instance with its snapshots. One that runs is only deleted with force = True.",
				Defaults: absentParams{Timeout: 2 * time.Minute},
				Check:    checkAbsent,
			},
			&builtin.Look[infoParams, instanceInfo]{
				Name:     "info",
				Doc:      "Describes an instance, which need not exist.",
				Defaults: infoParams{Addresses: true},
				Run:      info,
			},
			&builtin.Look[instancesParams, []summary]{
				Name: "instances",
				Doc:  "Lists the instances of the daemon's project, or of all, in the order of their names.",
				Run:  instances,
			},
			&builtin.Action[profileParams]{
				Name:  "profile",
				Doc:   "Makes sure of a profile and its settings. The instances that use it follow at once.",
				Check: checkProfile,
			},
			&builtin.Action[nameParams]{
				Name:  "profile_absent",
				Doc:   "Deletes a profile, which no instance may use any more.",
				Check: checkProfileAbsent,
			},
			&builtin.Look[nameParams, settingsInfo]{
				Name: "profile_info",
				Doc:  "Describes a profile, which need not exist.",
				Run:  profileInfo,
			},
			&builtin.Action[networkParams]{
				Name:     "network",
				Doc:      "Makes sure of a network that Incus manages and of its settings. A bridge whose interface has gone from the machine is brought up again; the instances on it have lost their link then, and want a restart.",
				Defaults: networkParams{Type: "bridge"},
				Check:    checkNetwork,
			},
			&builtin.Action[nameParams]{
				Name:  "network_restarted",
				Doc:   "Sets a network up anew, each time that it is called: its interface, firewall rules and DNS and DHCP server.",
				Check: checkNetworkRestarted,
			},
			&builtin.Action[nameParams]{
				Name:  "network_absent",
				Doc:   "Deletes a network, which nothing may use any more.",
				Check: checkNetworkAbsent,
			},
			&builtin.Look[nameParams, settingsInfo]{
				Name: "network_info",
				Doc:  "Describes a network, which need not exist.",
				Run:  networkInfo,
			},
			&builtin.Action[poolParams]{
				Name:     "storage_pool",
				Doc:      "Makes sure of a storage pool and its settings, most of which can only be given when it is made.",
				Defaults: poolParams{Driver: "dir"},
				Check:    checkPool,
			},
			&builtin.Action[nameParams]{
				Name:  "storage_pool_absent",
				Doc:   "Deletes a storage pool, which nothing may use any more.",
				Check: checkPoolAbsent,
			},
			&builtin.Look[nameParams, settingsInfo]{
				Name: "storage_pool_info",
				Doc:  "Describes a storage pool, which need not exist.",
				Run:  poolInfo,
			},
			&builtin.Action[imageParams]{
				Name: "image",
				Doc: "Makes sure that an alias means an image: one of an image server, which is downloaded where the alias is not there yet, " +
					"or one from a file, which is imported where the alias is not there or means another.",
				Defaults: imageParams{Timeout: 15 * time.Minute},
				Result:   imported{},
				Check:    checkImage,
			},
			&builtin.Action[aliasParams]{
				Name:  "image_absent",
				Doc:   "Removes an image's alias, and the image with it if it has no other. Instances made of it stay.",
				Check: checkImageAbsent,
			},
			&builtin.Look[imageInfoParams, imageInfo]{
				Name: "image_info",
				Doc:  "Describes an image of the daemon, which need not exist.",
				Run:  describeImage,
			},
			&builtin.Look[imageOfferedParams, bool]{
				Name:     "image_offered",
				Doc:      "Asks an image server whether it has an image, from the machine that pgrun runs on. False as well where it cannot be reached.",
				Defaults: imageOfferedParams{Timeout: 5 * time.Second},
				Run:      imageOffered,
			},
			&builtin.Look[struct{}, server]{
				Name: "server",
				Doc:  "Describes the daemon, and tells whether it can be reached at all.",
				Run:  describeServer,
			},
		},
	}
}
