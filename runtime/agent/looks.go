package agent

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/pgrun/pgrun/runtime/host"
)

// Form is one form of command that only reads. A command has it when the program's name is Program and
// comes from where the distribution puts programs, the first argument is one of First, and every other
// argument that begins with "-" is allowed below. What is not named is refused: a program's next
// version may have an option that writes, and most accept abbreviations.
type Form struct {
	Program string

	// First are the first arguments that it may have; nil does not care.
	First []string

	// Any allows all options: the program has none that writes.
	Any bool

	// Letters are options of one letter without a value, alone or together (-tln).
	Letters string

	// Options are whole options; one that ends in * may go on as it likes (--property=*).
	Options []string

	// DryRun are options that a read-only agent insists on.
	DryRun []string

	// Check, where it is set, has the last word on the arguments.
	Check func(args []string) error
}

// Looks is the table of forms.
var Looks = []Form{
	{Program: "dpkg-query", First: []string{"-W", "--show", "-s", "--status", "-l", "--list", "-L", "--listfiles", "-S", "--search"},
		Options: []string{"-f", "-f=*", "--showformat=*", "--no-pager"}},
	{Program: "dpkg", First: []string{"--print-architecture", "--print-foreign-architectures", "--compare-versions"}},
	// APT renews its caches of the lists where it finds them out of date, whoever asks: see aptOptions.
	{Program: "apt-cache", First: []string{"policy", "show", "madison", "pkgnames"}, Options: aptOptions, DryRun: aptOptions[:1]},
	{Program: "apt-get", First: []string{"-s", "--simulate", "--just-print", "--dry-run", "--recon", "--no-act"},
		Options: append([]string{"-y", "--yes", "--assume-yes", "-q", "-qq", "-V", "-t=*", "--target-release=*", "--purge",
			"--autoremove", "--auto-remove", "--reinstall", "--only-upgrade", "--no-upgrade", "--no-remove", "--with-new-pkgs",
			"--no-install-recommends", "--install-recommends", "--allow-downgrades", "--allow-change-held-packages",
			"--fix-broken", "-f"}, aptOptions...),
		DryRun: aptOptions[:1], Check: simulated},
	{Program: "apt-mark", First: []string{"showhold", "showmanual", "showauto"}},
	{Program: "systemctl", First: []string{"show", "cat", "is-enabled", "is-active", "is-failed", "list-unit-files", "list-units", "is-system-running"},
		Letters: "alqr", Options: []string{"-p", "-p*", "--property=*", "-P", "--value", "--no-pager", "--no-legend", "--plain", "--timestamp=*",
			"--all", "--full", "--quiet", "-t", "--type=*", "--state=*", "--output=*", "-o", "--user", "--failed"}},
	{Program: "journalctl", // no --cursor-file, which it writes, and no -f, which never ends
		Letters: "qrakx", Options: []string{"-u", "-u*", "--unit=*", "-n", "-n*", "--lines=*", "-o", "--output=*",
			"--output-fields=*", "-b", "--boot", "--boot=*", "--dmesg", "--since=*", "--until=*", "-S", "-U", "-p", "--priority=*",
			"-t", "--identifier=*", "-g", "--grep=*", "--cursor=*", "--after-cursor=*", "--show-cursor", "--no-pager",
			"--no-hostname", "--quiet", "--reverse", "--all", "--utc", "--invocation=*", "--user-unit=*", "--user"}},
	{Program: "pg_autoctl", First: []string{"version", "--version"}, Any: true}, // every other command makes the directories that it would read
	{Program: "pg_lsclusters", Any: true},
	{Program: "pg_config", Any: true},
	{Program: "getent", Any: true},
	{Program: "id", Any: true},
	{Program: "locale", First: []string{"-a"}},
	{Program: "timedatectl", First: []string{"show"}, Letters: "a", Options: []string{"-p", "--property=*", "--value", "--all"}},
	{Program: "loginctl", First: []string{"show", "show-session", "show-user", "show-seat"}, Letters: "a",
		Options: []string{"-p", "--property=*", "--value", "--all", "--no-pager"}},
	{Program: "uname", Any: true},
	{Program: "date", Check: dateShow},
	{Program: "true", Any: true},
	{Program: "test", Any: true},
	{Program: "readlink", Any: true},
	{Program: "stat", Any: true},
	{Program: "findmnt", Any: true},
	{Program: "lsblk", Any: true},
	{Program: "ip", Options: []string{"-j", "-json", "-4", "-6", "-d", "-details", "-s", "-br", "-brief", "-o", "-oneline", "-N"}, Check: ipShow},
	{Program: "ss", Letters: "aluxtnpHeimO460Qw"}, // -K closes sockets, -D writes a file
	{Program: "ps", Any: true},
	{Program: "openssl", First: []string{"x509"},
		Options: []string{"-in", "-inform", "-noout", "-text", "-subject", "-issuer", "-dates", "-startdate", "-enddate", "-serial",
			"-fingerprint", "-sha1", "-sha256", "-checkend", "-checkhost", "-checkip", "-pubkey", "-modulus", "-hash", "-ext",
			"-nameopt", "-certopt", "-email", "-purpose"}},
	// Without the three that keyless names, gpg makes a key ring and a trust database for its user.
	{Program: "gpg", First: []string{"--show-keys"}, Options: append([]string{"--with-colons", "--with-fingerprint", "--batch",
		"--quiet", "--no-tty"}, keyless...), Check: withKeyless},
}

// keyless keep gpg from its user's files.
var keyless = []string{"--no-keyring", "--no-options", "--trust-model=always"}

func withKeyless(args []string) error {
	for _, option := range keyless {
		if !slices.Contains(args, option) {
			return fmt.Errorf("gpg --show-keys writes to its user's home, unless it is given %s", strings.Join(keyless, " "))
		}
	}
	return nil
}

// aptOptions keep APT from writing its two caches of the lists and its log of plans, or choose a release.
// Of the caches and the log only the empty name is allowed: any other would be written to. The first is out of
// date after each installation, the second only with the lists, and takes long to do without: so a dry run must
// give the first.
var aptOptions = []string{"-oDir::Cache::pkgcache=", "-oDir::Cache::srcpkgcache=", "-oDir::Log::Planner=", "-oAPT::Default-Release=*"}

// lookEnv are the environment variables that a command of the table may be given. Others could make it
// run what it likes (PATH, LD_PRELOAD, PAGER).
var lookEnv = []string{"LANG", "LANGUAGE", "LC_ALL", "TZ", "COLUMNS", "NO_COLOR", "SYSTEMD_COLORS", "DEBIAN_FRONTEND",
	"PGDATA", "PGPORT", "XDG_RUNTIME_DIR"}

// checkLook says why a command has none of the forms in Looks; nil when it has one.
func checkLook(c host.Command, readOnly bool) error {
	if len(c.Argv) == 0 {
		return errors.New("an empty command")
	}
	program, args := c.Argv[0], c.Argv[1:]
	if strings.Contains(program, "/") && !trusted(path.Dir(program)) {
		return fmt.Errorf("%s is not where the distribution puts programs", program)
	}
	for name := range c.Env {
		if !slices.Contains(lookEnv, name) {
			return fmt.Errorf("the environment variable %s is not among those that a look may set", name)
		}
	}
	var why error
	for _, f := range Looks {
		if f.Program == path.Base(program) {
			err := f.check(args, readOnly)
			if err == nil {
				return nil
			}
			why = errors.Join(why, err)
		}
	}
	if why == nil {
		return fmt.Errorf("%s is not in the table of commands that only read; say reads = True if this one does", program)
	}
	return why
}

// trusted reports whether a directory is one of the distribution's for programs.
func trusted(dir string) bool {
	switch dir {
	case "/bin", "/sbin", "/usr/bin", "/usr/sbin":
		return true
	}
	version, ok := strings.CutPrefix(dir, "/usr/lib/postgresql/")
	version, ok2 := strings.CutSuffix(version, "/bin")
	return ok && ok2 && version != "" && strings.Trim(version, "0123456789.") == "" && strings.Trim(version, ".") != ""
}

func (f Form) check(args []string, readOnly bool) error {
	rest := args
	if f.First != nil {
		if len(args) == 0 || !slices.Contains(f.First, args[0]) {
			return fmt.Errorf("%s only reads with one of these as its first argument: %s", f.Program, strings.Join(f.First, ", "))
		}
		rest = args[1:]
	}
	for _, a := range rest {
		if strings.HasPrefix(a, "-") && !f.allows(a) {
			return fmt.Errorf("the option %s of %s is not among those that only read", a, f.Program)
		}
	}
	for _, option := range f.DryRun {
		if readOnly && !slices.Contains(rest, option) {
			return fmt.Errorf("%s writes to its caches, unless it is given %s", f.Program, option)
		}
	}
	if f.Check != nil {
		return f.Check(args)
	}
	return nil
}

func (f Form) allows(option string) bool {
	if f.Any {
		return true
	}
	for _, o := range f.Options {
		stem, open := strings.CutSuffix(o, "*")
		if option == o || open && strings.HasPrefix(option, stem) {
			return true
		}
	}
	letters := option[1:]
	return letters != "" && f.Letters != "" && strings.Trim(letters, f.Letters) == ""
}

// simulated checks what apt-get is to simulate. Its other commands (update, download, clean) know no
// simulation or ignore it.
func simulated(args []string) error {
	for _, a := range args {
		if strings.HasPrefix(a, "-") {
			continue
		}
		if slices.Contains([]string{"install", "reinstall", "remove", "purge", "upgrade", "full-upgrade", "dist-upgrade", "autoremove", "build-dep"}, a) {
			return nil
		}
		return fmt.Errorf("apt-get does not simulate %s", a)
	}
	return nil
}

// dateShow allows "date +FORMAT"; any other argument would set the clock.
func dateShow(args []string) error {
	if len(args) == 1 && strings.HasPrefix(args[0], "+") {
		return nil
	}
	return fmt.Errorf("date only reads as: date +FORMAT")
}

// ipShow allows "ip [options] object show|list [...]".
func ipShow(args []string) error {
	for len(args) > 0 && strings.HasPrefix(args[0], "-") {
		args = args[1:]
	}
	if len(args) >= 2 && slices.Contains([]string{"addr", "address", "a", "link", "route", "r", "rule", "neigh"}, args[0]) &&
		slices.Contains([]string{"show", "list"}, args[1]) {
		return nil
	}
	return errors.New("ip only reads as: ip [options] addr|link|route|rule|neigh show|list")
}
