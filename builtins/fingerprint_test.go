package builtins_test

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/pgrun/pgrun/runtime/builtin/builtintest"
	"github.com/pgrun/pgrun/runtime/host"
)

// fingerprint tells whether a dry run changed anything: it returns a line for everything that it knows of.
type fingerprint func() []string

// difference lists the lines that only one of both has.
func difference(before, after []string) []string {
	var all []string
	only := func(mark string, these, others []string) {
		known := map[string]bool{}
		for _, line := range others {
			known[line] = true
		}
		for _, line := range these {
			if !known[line] {
				all = append(all, mark+line)
			}
		}
	}
	only("- ", before, after)
	only("+ ", after, before)
	return all
}

// restless are the paths that change on an idle machine. What of a file is compared is type, mode, owner,
// size, times of its content and its inode: so that reading one shows no trace.
var restless = []string{
	"/dev", "/proc", "/run", "/sys", // file systems of the kernel's
	"/tmp/systemd-private-*", "/var/tmp/systemd-private-*", // of services that start
	"/var/log/postgresql/*", // a server's, which writes of its checkpoints
	"/var/log/journal*", "/var/log/wtmp*", "/var/log/btmp", "/var/log/lastlog",
	"/var/lib/systemd/*",                                                                              // clock, timers' stamps, random seed
	"/var/lib/postgresql/*/base*", "/var/lib/postgresql/*/global*", "/var/lib/postgresql/*/pg_[!hi]*", // a server's, but for its configuration
}

// machineState lists every file of a machine's disks, but for the volatile ones.
func machineState(t *testing.T, m builtintest.Machine, volatile []string) fingerprint {
	const file = "/run/pgrun-fingerprint" // in memory, where find does not go
	var prune strings.Builder
	for _, path := range append(slices.Clone(restless), volatile...) {
		fmt.Fprintf(&prune, "-path %s -prune -o ", host.Quote(path))
	}
	script := "find / /tmp -xdev " + prune.String() + `-printf '%p %y %m %u:%g %s %T@ %C@ %l\n' | sort -u > ` + file
	return func() []string {
		c := host.Command{Argv: []string{"sh", "-c", script}}
		if _, err := host.Succeeded(c)(m.Host.Run(t.Context(), c)); err != nil {
			t.Fatal(err)
		}
		list, err := m.Host.ReadFile(t.Context(), file)
		if err != nil {
			t.Fatal(err)
		}
		return slices.DeleteFunc(strings.Split(strings.TrimSpace(string(list)), "\n"), func(line string) bool {
			return strings.HasPrefix(line, "/tmp d ") || strings.HasPrefix(line, "/var/tmp d ") // of services that start or end
		})
	}
}

// watches reports whether an object of Incus is one that these tests look at: the others are somebody
// else's, who may be at work.
func watches(name string) bool {
	made := strings.HasPrefix(name, "pgrun-conf") && !strings.HasPrefix(name, "pgrun-conformance")
	return made || name == *containerName || name == "default" || name == "incusbr0"
}

// incusState lists what this machine's Incus has. It asks the daemon itself, so as not to trust the package
// that is under test.
func incusState(t *testing.T) fingerprint { return func() []string { return askIncusForAll(t) } }

func askIncusForAll(t *testing.T) []string {
	t.Helper()
	var lines []string
	for _, x := range []struct{ kind, path string }{
		{"instance", "/1.0/instances?recursion=1"},
		{"profile", "/1.0/profiles?recursion=1"},
		{"network", "/1.0/networks?recursion=1"},
		{"pool", "/1.0/storage-pools?recursion=1"},
		{"alias", "/1.0/images/aliases?recursion=1"},
	} {
		for _, object := range askIncus(t, x.path) {
			name, _ := object["name"].(string)
			if !watches(name) {
				continue
			}
			if x.kind == "instance" {
				for _, s := range askIncus(t, "/1.0/instances/"+name+"/snapshots?recursion=1") {
					lines = append(lines, fmt.Sprintf("snapshot %s/%s", name, s["name"]))
				}
			}
			settings := map[string]any{}
			for _, key := range []string{"status", "config", "devices", "profiles", "description", "target"} {
				settings[key] = object[key]
			}
			if config, ok := settings["config"].(map[string]any); ok {
				for key := range config {
					if strings.HasPrefix(key, "volatile.") {
						delete(config, key)
					}
				}
			}
			text, err := json.Marshal(settings)
			if err != nil {
				t.Fatal(err)
			}
			lines = append(lines, fmt.Sprintf("%s %s %s", x.kind, name, text))
		}
	}
	return lines
}

// askIncus gets a list of objects.
func askIncus(t *testing.T, path string) []map[string]any {
	t.Helper()
	client := http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", incusSocket())
		},
	}}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://incus"+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var answer struct {
		Error    string
		Metadata []map[string]any
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil || answer.Error != "" {
		t.Fatalf("%s: %v %s", path, err, answer.Error)
	}
	return answer.Metadata
}

func incusSocket() string {
	if socket := os.Getenv("INCUS_SOCKET"); socket != "" {
		return socket
	}
	dir := cmp.Or(os.Getenv("INCUS_DIR"), "/var/lib/incus")
	if _, err := os.Stat("/run/incus/unix.socket"); err == nil && os.Getenv("INCUS_DIR") == "" {
		dir = "/run/incus"
	}
	return dir + "/unix.socket"
}
