package suggest

// Habit says what a playbook has in place of a name that Python or Ansible has; "" of others.
func Habit(name string) string {
	if text := names[name]; text != "" {
		return text
	}
	return taskKeywords[name]
}

// TaskKeyword is Habit for the words that stand beside the module in an Ansible task, which people give to
// builtins as parameters.
func TaskKeyword(name string) string { return taskKeywords[name] }

const (
	noExceptions = "there are no exceptions: attempt(fn) catches a failure, always(fn, cleanup) cleans up"
	otherFiles   = `load("//lib/x.star", "name") takes functions from another file; builtins need none`
	shell        = `write command(h, ["program", "argument"]); for a shell ["sh", "-c", "..."]`
	lines        = "write file.line(h, path, ...), or the whole file with file.template"
	packages     = "write apt.install(h, [...])"
	services     = "write systemd.started(h, name); systemd.unit writes its unit file"
	isTrue       = "write True"
	isFalse      = "write False"
	isNone       = "write None"
	inInventory  = `belongs in an inventory, which inventory("hosts.star") names`
	noClosures   = "a function changes no variable outside of it: return the value"
	comprehend   = "write a comprehension: [f(x) for x in list if ...]"
	regular      = "there are no regular expressions: strings have find, split, startswith, removeprefix"
)

var names = map[string]string{
	"import": otherFiles, "from": otherFiles, "os": `env("NAME") reads the environment, command(h, [...]) runs programs`,
	"try": noExceptions, "except": noExceptions, "finally": noExceptions, "raise": "write fail(message)", "Exception": noExceptions,
	"with": "write always(fn, cleanup), or read a file with template, vault.read or file.read", "class": "write struct(name = value), or a dict, and functions",
	"is": "write ==, or !=", "while": "write for ... in range(n), wait_until(fn, timeout = ...) or retry(fn)",
	"global": noClosures, "nonlocal": noClosures, "del": "dict.pop(key) and list.pop(index) remove an item",
	"assert": "write if not ...: fail(message)", "yield": "return a list", "async": "hosts run at once by themselves", "await": "hosts run at once by themselves",
	"open": "file.read(h, path) reads a host's file, template(path) and vault.read(path) the project's", "re": regular,
	"map": comprehend, "filter": comprehend, "isinstance": `write type(x) == "string"`, "sleep": "wait_until(fn, timeout = ...) waits for what you wait for",

	"yes": isTrue, "true": isTrue, "on": isTrue, "no": isFalse, "false": isFalse, "off": isFalse,
	"null": isNone, "none": isNone, "nil": isNone, "undefined": isNone,

	"service": services, "systemd_service": services, "systemctl": services, "package": packages, "yum": packages, "dnf": packages, "apt_get": packages,
	"copy": "write file.content(h, path, content = ...), or file.copy(h, path, source = ...)", "lineinfile": lines, "blockinfile": lines, "replace": lines,
	"shell": shell, "raw": shell, "script": shell, "debug": "write log(message)", "get_url": shell, "git": shell, "cron": "systemd.unit(h, \"x.timer\", ...) runs something at times",
	"stat": "write file.stat(h, path)", "slurp": "write file.read(h, path)", "fetch": "write file.read(h, path)", "setup": "write facts(h)", "gather_facts": "write facts(h)",
	"ansible_facts": "write facts(h)", "apt_repository": "write apt.repository(h, ...)", "wait_for": "write wait.port, wait.file, wait.url or wait_until",
	"set_fact": "a variable keeps a value", "include_tasks": otherFiles, "import_tasks": otherFiles, "include_role": otherFiles, "import_role": otherFiles, "import_playbook": otherFiles,
	"role": otherFiles, "roles": otherFiles, "host": inInventory, "params": inInventory, "inventory_hostname": "write h.name", "hostvars": "write inventory.host(name).vars",
	"groups": "write inventory.hosts(pattern)", "lookup": `write env("NAME"), template(path) or vault.read(path)`,
	"vault.load": "write vault.read(path)", "postgresql_db": "write sql.database(h, ...)", "postgresql_user": "write sql.role(h, ...)",
}

// Option says what the command line has in place of an option that other tools have; "" of others.
func Option(name string) string { return commandLine[name] }

var commandLine = map[string]string{
	"dry-run": "write --check", "dryrun": "write --check", "noop": "write --check", "list-hosts": "--list-tasks lists the hosts, too", "version": "write pgrun version",
	"become": asRoot, "b": asRoot, "user": asRoot, "u": asRoot, "quiet": calm, "q": calm,
	"json": "write --output json", "force-color": "write --color always", "no-color": "write --color never",
}

const (
	condition = "write if ...: around the call"
	loop      = "write for ... in ...: around the call"
	restarts  = "write systemd.started(h, name, restart_if_newer = [path]) for a restart, reload_if_newer for a reload, or else if r.changed: after the call"
	calm      = "what had nothing to change shows with --verbose only"
	asRoot    = "everything runs as root; command has user = ..."
)

var taskKeywords = map[string]string{
	"when": condition, "failed_when": "write if ...: fail(message) after the call", "changed_when": "command has reads = True for what changes nothing",
	"register": "write r = before the call", "notify": restarts, "handlers": restarts, "loop": loop, "with_items": loop,
	"until": "write wait_until(fn, timeout = ...)", "retries": "write retry(fn, attempts = 5)", "delay": "write retry(fn, every = \"2s\")",
	"delegate_to": "give the call the other host: inventory.host(name)", "run_once": "write a play for one host", "ignore_errors": "write r = attempt(fn)",
	"become": asRoot, "become_user": asRoot, "no_log": "secrets are hidden by themselves: secret(...) makes one",
}
