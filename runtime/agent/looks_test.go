package agent

import (
	"strings"
	"testing"

	"github.com/pgrun/pgrun/runtime/host"
)

func TestLooksAllow(t *testing.T) {
	for _, line := range []string{
		"dpkg-query -W -f=${Package} bash",
		"dpkg-query -W -f ${Package} bash",
		"/usr/bin/dpkg-query --status bash",
		"dpkg --print-architecture",
		"dpkg --compare-versions 1 lt 2",
		"apt-cache policy bash",
		"apt-cache madison -oDir::Cache::pkgcache= -oDir::Cache::srcpkgcache= bash",
		"apt-get -s install -y --no-install-recommends bash",
		"apt-get --simulate -qq full-upgrade",
		"apt-get -s -y -q -V -oDir::Log::Planner= -oDir::Cache::pkgcache= -oAPT::Default-Release=trixie-backports install bash/stable",
		"apt-mark showhold",
		"systemctl show --property=ActiveState,SubState --value ssh.service",
		"systemctl show -p ActiveState ssh.service",
		"systemctl is-active -q ssh",
		"systemctl cat ssh.service --no-pager",
		"journalctl -u ssh -n 20 --no-pager -o cat",
		"journalctl -b -k -qr",
		"pg_autoctl version",
		"/usr/lib/postgresql/17/bin/pg_config --bindir",
		"pg_lsclusters -h",
		"getent passwd postgres",
		"id -u postgres",
		"locale -a",
		"timedatectl show -p Timezone --value",
		"loginctl show-user postgres",
		"uname -r",
		"true",
		"test -e /x",
		"readlink -f /x",
		"stat -c %s /x",
		"findmnt -J /run",
		"lsblk -J",
		"ip -j addr show",
		"ip -4 -j route show default",
		"ss -Hltn",
		"ps -eo pid,comm",
		"openssl x509 -in /x -noout -enddate",
		"gpg --show-keys --with-colons --no-keyring --no-options --trust-model=always /x",
	} {
		if err := checkLook(host.Command{Argv: strings.Fields(line)}, false); err != nil {
			t.Errorf("%s: %v", line, err)
		}
	}
}

func TestLooksRefuse(t *testing.T) {
	for line, why := range map[string]string{
		"":                               "empty",
		"rm -rf /":                       "not in the table",
		"sh -c true":                     "not in the table",
		"/tmp/true":                      "not where the distribution",
		"./true":                         "not where the distribution",
		"/usr/bin/../../tmp/true":        "not where the distribution",
		"/usr/lib/postgresql/x/bin/id":   "not where the distribution",
		"/usr/lib/postgresql/../bin/id":  "not where the distribution",
		"dpkg -i x.deb":                  "first argument",
		"dpkg":                           "first argument",
		"dpkg --compare-versions -i x":   "option -i",
		"dpkg-query -f=x -W":             "first argument",
		"apt-cache gencaches":            "first argument",
		"apt-cache policy -o Dir::Bin=x": "option -o",
		"apt-cache policy -oDir::Cache::pkgcache=/etc/passwd":     "option -oDir",
		"apt-cache policy -c=/tmp/x":                              "option -c",
		"apt-get install bash":                                    "first argument",
		"apt-get install -s bash":                                 "first argument",
		"apt-get -s -oDir::Log::Planner=/etc/passwd install bash": "option -oDir",
		"apt-get -s update":                                       "does not simulate update",
		"apt-get -s download bash":                                "does not simulate download",
		"apt-get -s -t install update":                            "option -t",
		"apt-get -s install -s=false bash":                        "option -s=false",
		"apt-get -s install --no-simulate bash":                   "option --no-simulate",
		"apt-get -s install --simulate=no bash":                   "option --simulate=no",
		"apt-get -s install -o APT::Get::Simulate=false":          "option -o",
		"apt-get -s install -oAPT::Get::Simulate=false":           "option -oAPT",
		"apt-get -s install -yoAPT::Get::Simulate=false":          "option -yoAPT",
		"apt-mark hold bash":                                      "first argument",
		"systemctl start ssh":                                     "first argument",
		"systemctl --no-pager show ssh":                           "first argument",
		"systemctl show -H other ssh":                             "option -H",
		"systemctl is-active -qH other":                           "option -qH",
		"journalctl --vacuum-size=1":                              "option --vacuum",
		"journalctl --vac=1":                                      "option --vac",
		"journalctl --rotate":                                     "option --rotate",
		"journalctl --rot":                                        "option --rot",
		"journalctl --flush":                                      "option --flush",
		"journalctl --sync":                                       "option --sync",
		"journalctl --relinquish-var":                             "option --relinquish",
		"journalctl --update-catalog":                             "option --update",
		"journalctl --setup-keys":                                 "option --setup",
		"journalctl --cursor-file=/etc/passwd":                    "option --cursor-file",
		"journalctl -f":                                           "option -f",
		"pg_autoctl create monitor":                               "first argument",
		"pg_autoctl show state --pgdata /x":                       "first argument",
		"pg_autoctl config get --pgdata /x":                       "first argument",
		"locale -m":                                               "first argument",
		"timedatectl set-timezone UTC":                            "first argument",
		"loginctl terminate-user x":                               "first argument",
		"ip addr add 192.0.2.1 dev eth0":                          "ip only reads",
		"ip link":                                                 "ip only reads",
		"ip -b /x addr show":                                      "option -b",
		"ip -n x addr show":                                       "option -n",
		"ip netns exec x show":                                    "ip only reads",
		"ss -K dst 192.0.2.1":                                     "option -K",
		"ss -tKn":                                                 "option -tKn",
		"ss -D /etc/passwd":                                       "option -D",
		"openssl x509 -in a -out b":                               "option -out",
		"openssl rand -out x 1":                                   "first argument",
		"gpg --show-keys /x":                                      "home",
		"gpg --import /x":                                         "first argument",
		"gpg --show-keys --no-keyring --no-options --trust-model=always --import /x": "option --import",
	} {
		err := checkLook(host.Command{Argv: strings.Fields(line)}, false)
		if err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("%s: %v, want a refusal with %q", line, err, why)
		}
	}
}

func TestLooksRefuseEnvironment(t *testing.T) {
	for _, name := range []string{"PATH", "LD_PRELOAD", "PAGER", "SYSTEMD_PAGER", "APT_CONFIG"} {
		if err := checkLook(host.Command{Argv: []string{"true"}, Env: map[string]string{name: "x"}}, false); err == nil {
			t.Errorf("%s was let through", name)
		}
	}
	if err := checkLook(host.Command{Argv: []string{"true"}, Env: map[string]string{"LC_ALL": "C"}}, false); err != nil {
		t.Error(err)
	}
}

func TestLooksOfADryRun(t *testing.T) {
	for line, allowed := range map[string]bool{
		"apt-cache policy bash":                                      false,
		"apt-cache policy -oDir::Cache::srcpkgcache= bash":           false,
		"apt-cache policy -oDir::Cache::pkgcache= bash":              true,
		"apt-get -s -y install bash":                                 false,
		"apt-get -s -y -oDir::Cache::pkgcache= install bash":         true,
		"apt-get -s -oDir::Cache::pkgcache=/etc/passwd full-upgrade": false,
		"apt-mark showhold":                                          true,
	} {
		err := checkLook(host.Command{Argv: strings.Fields(line)}, true)
		if (err == nil) != allowed {
			t.Errorf("%s: %v", line, err)
		}
	}
}
