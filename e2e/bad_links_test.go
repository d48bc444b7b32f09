package e2e_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"
)

// The container behind a link, and where its daemon listens.
const (
	linked   = "pgrun-e2e-link"
	linkPort = "18443"
)

// links are what can be wrong with the way to an Incus daemon that is on another machine.
var links = []struct {
	name, make, undo string
	underWay         bool // it becomes so while a command runs
	works            bool
}{
	{"5 % of the packets lost, each way", drop("numgen random mod 100 < 5"), undrop, false, true},
	{"1 Mbit/s",
		"tc qdisc add dev lo root handle 1: htb default 10 && tc class add dev lo parent 1: classid 1:10 htb rate 10gbit && " +
			"tc class add dev lo parent 1: classid 1:30 htb rate 1mbit ceil 1mbit burst 128kb cburst 128kb && " +
			"for port in dport sport; do tc filter add dev lo protocol ip parent 1: prio 3 u32 match ip $port " + linkPort + " 0xffff flowid 1:30; done",
		"tc qdisc del dev lo root", false, true},
	{"cut", drop(""), undrop, false, false},
	{"cut while a command runs", drop(""), undrop, true, false},
}

// drop has packets dropped, both ways, where a match of nft's holds.
func drop(match string) string {
	return "nft -f - <<'END'\ntable inet pgrun_e2e_link {\n chain input {\n  type filter hook input priority 0;\n" +
		"  tcp dport " + linkPort + " " + match + " drop\n" +
		"  tcp sport " + linkPort + " " + match + " drop\n }\n}\nEND"
}

const undrop = "nft delete table inet pgrun_e2e_link"

// TestBadLinks works through a link that is bad, or becomes so: in success, or with a clear error in time.
func TestBadLinks(t *testing.T) {
	ofOthers.take(t)
	l := newIncus(t)
	for _, tool := range []string{"nft", "tc"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Fatalf("no %s: apt-get install nftables iproute2", tool)
		}
	}
	for _, link := range links {
		_ = exec.Command("sh", "-c", link.undo).Run() // of a test that was killed
	}
	conf := remoteLink(t, l)
	l.discard(t, linked)
	l.incusCLI(t, "launch", "-q", "pgrun/debian-13", linked, "-p", "pgrun-lab", "-c", "user.pgrun.test=true")
	work := func(text string) *exec.Cmd {
		c := command(testdata("links.star"), "-e", "text="+text)
		c.Env = append(c.Env, "INCUS_CONF="+conf)
		return c
	}
	run(work("good")).check(t, 0)
	for _, link := range links {
		t.Run(link.name, func(t *testing.T) {
			undo := sync.OnceFunc(func() { shell(t, link.undo) })
			var p *process
			began := time.Now()
			if link.underWay {
				p = l.startFor(t, work("new."))
				p.until(linked + ": at work")
			}
			t.Cleanup(undo)
			shell(t, link.make)
			if p == nil {
				p = l.startFor(t, work("new."))
			}
			select {
			case <-p.done:
			case <-time.After(2 * time.Minute):
				t.Fatalf("has not ended after 2 minutes:\n%s", p.printed())
			}
			r := p.wait()
			t.Logf("exit code %d after %s: %s", r.code, time.Since(began).Round(100*time.Millisecond), lastLine(r.out))
			if link.works {
				r.check(t, 0)
				run(work("new.")).unchanged(t)
			} else if r.code == 0 || !strings.Contains(r.out, linked+": ") {
				t.Errorf("exit code %d, and no error that names the host:\n%s", r.code, r.out)
			}
			undo()
			run(work("good")).check(t, 0)
		})
	}
}

// shell runs a line on this machine.
func shell(t *testing.T, line string) {
	t.Helper()
	if out, err := exec.Command("sh", "-c", line).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", line, err, out)
	}
}

// remoteLink has the daemon listen on loopback, and makes a configuration of Incus's clients that has it as a remote. It
// returns the configuration's directory.
func remoteLink(t *testing.T, l *lab) string {
	t.Helper()
	const name = "pgrun-e2e-link"
	before, err := exec.Command("incus", "config", "get", "core.https_address").Output()
	must(t, err)
	listens := strings.TrimSpace(string(before))
	if listens == "127.0.0.1:"+linkPort { // since a test that was killed
		listens = ""
	}
	l.incusCLI(t, "config", "set", "core.https_address=127.0.0.1:"+linkPort)
	t.Cleanup(func() { shell(t, "incus config set core.https_address='"+listens+"'") })
	distrust := func() {
		out, err := exec.Command("incus", "config", "trust", "list", "--format", "json").Output()
		must(t, err)
		var trusted []struct{ Name, Fingerprint string }
		must(t, json.Unmarshal(out, &trusted))
		for _, one := range trusted {
			if one.Name == name {
				shell(t, "incus config trust remove "+one.Fingerprint)
			}
		}
	}
	distrust() // of a test that was killed
	t.Cleanup(distrust)
	token, err := exec.Command("incus", "config", "trust", "add", "--quiet", name).Output()
	must(t, err)
	conf := t.TempDir()
	add := exec.Command("incus", "remote", "add", "link", "https://127.0.0.1:"+linkPort, "--accept-certificate", "--token", strings.TrimSpace(string(token)))
	add.Env = append(os.Environ(), "INCUS_CONF="+conf)
	if out, err := add.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return conf
}
