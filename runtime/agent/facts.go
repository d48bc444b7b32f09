package agent

import (
	"bytes"
	"fmt"
	"math"
	"net"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/pgrun/pgrun/runtime/host"
)

// facts describes the machine.
func facts() (reply, error) {
	f := host.Facts{
		Architecture: debianArchitecture(runtime.GOARCH),
		CPUs:         cpus(),
		Memory:       memory(),
		Init:         firstLine("/proc/1/comm"),
	}
	var uts unix.Utsname
	if err := unix.Uname(&uts); err != nil {
		return reply{}, fmt.Errorf("uname: %w", err)
	}
	f.Kernel = unix.ByteSliceToString(uts.Release[:])
	f.Hostname, _, _ = strings.Cut(unix.ByteSliceToString(uts.Nodename[:]), ".")
	release := osRelease()
	f.OS, f.OSVersion, f.Codename = release["ID"], release["VERSION_ID"], release["VERSION_CODENAME"]
	addresses, err := globalAddresses()
	if err != nil {
		return reply{}, fmt.Errorf("list the addresses: %w", err)
	}
	f.Addresses = addresses
	return reply{Facts: &f}, nil
}

// debianArchitecture turns Go's word for a processor into Debian's.
func debianArchitecture(goarch string) string {
	words := map[string]string{
		"386": "i386", "arm": "armhf", "ppc64le": "ppc64el", "mips64le": "mips64el", "loong64": "loong64",
	}
	if word, ok := words[goarch]; ok {
		return word
	}
	return goarch
}

// osRelease reads os-release(5).
func osRelease() map[string]string {
	content, err := os.ReadFile("/etc/os-release")
	if err != nil {
		content, _ = os.ReadFile("/usr/lib/os-release")
	}
	values := make(map[string]string)
	for line := range bytes.Lines(content) {
		key, value, ok := strings.Cut(strings.TrimSpace(string(line)), "=")
		if !ok || strings.HasPrefix(key, "#") {
			continue
		}
		values[key] = strings.Trim(value, `"'`) // the three that we read hold nothing to escape
	}
	return values
}

// globalAddresses lists the addresses that other machines may reach, IPv4 first.
func globalAddresses() ([]string, error) {
	all, err := net.InterfaceAddrs()
	if err != nil {
		return nil, err
	}
	v4, v6 := []string{}, []string(nil)
	for _, a := range all {
		n, ok := a.(*net.IPNet)
		switch {
		case !ok || !n.IP.IsGlobalUnicast():
		case n.IP.To4() != nil:
			v4 = append(v4, n.IP.String())
		default:
			v6 = append(v6, n.IP.String())
		}
	}
	return append(v4, v6...), nil
}

// memory is how many bytes the machine may use: the smallest of what the kernel (or lxcfs) says and the
// limits of all control groups above.
func memory() int64 {
	least := int64(math.MaxInt64)
	for line := range strings.Lines(readAll("/proc/meminfo")) {
		if f := strings.Fields(line); len(f) > 1 && f[0] == "MemTotal:" {
			if kib, err := strconv.ParseInt(f[1], 10, 64); err == nil {
				least = kib << 10
			}
		}
	}
	for _, dir := range controlGroups("memory") {
		for _, file := range []string{"memory.max", "memory.limit_in_bytes"} { // versions 2 and 1
			if n, err := strconv.ParseInt(firstLine(filepath.Join(dir, file)), 10, 64); err == nil && n > 0 {
				least = min(least, n)
			}
		}
	}
	return least
}

// cpus is how many processors' worth of time the machine may use, rounded up: the smallest of the
// processors it may run on and the quotas of all control groups above.
func cpus() int {
	n := runtime.NumCPU() // sched_getaffinity(2)
	limit := func(quota, period string) {
		q, err1 := strconv.ParseFloat(quota, 64)
		p, err2 := strconv.ParseFloat(period, 64)
		if err1 == nil && err2 == nil && q > 0 && p > 0 {
			n = min(n, max(1, int(math.Ceil(q/p))))
		}
	}
	for _, dir := range controlGroups("cpu") {
		if f := strings.Fields(firstLine(filepath.Join(dir, "cpu.max"))); len(f) == 2 {
			limit(f[0], f[1])
		}
		limit(firstLine(filepath.Join(dir, "cpu.cfs_quota_us")), firstLine(filepath.Join(dir, "cpu.cfs_period_us")))
	}
	return n
}

// controlGroups lists the folders of the agent's control group and all above it, for a controller:
// version 2 where it has that controller, version 1 too. See cgroups(7).
func controlGroups(controller string) []string {
	var dirs []string
	for line := range strings.Lines(readAll("/proc/self/cgroup")) {
		f := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(f) != 3 {
			continue
		}
		var root string
		switch {
		case f[0] == "0" && f[1] == "":
			root = "/sys/fs/cgroup"
			if isDir(root + "/unified") { // both versions are mounted
				root += "/unified"
			}
		case hasWord(f[1], controller):
			root = "/sys/fs/cgroup/" + controller
		default:
			continue
		}
		// In a container the path may lie outside what is mounted ("/../x"): then the root is all we see.
		own := path.Clean("/" + f[2])
		if strings.HasPrefix(f[2], "/..") {
			own = "/"
		}
		for ; own != "/"; own = path.Dir(own) {
			dirs = append(dirs, root+own)
		}
		dirs = append(dirs, root)
	}
	return dirs
}

// hasWord reports whether a comma-separated list has a word.
func hasWord(list, word string) bool {
	for w := range strings.SplitSeq(list, ",") {
		if w == word {
			return true
		}
	}
	return false
}

func readAll(path string) string {
	content, _ := os.ReadFile(path)
	return string(content)
}

// firstLine is a file's first line, or empty.
func firstLine(path string) string {
	line, _, _ := strings.Cut(readAll(path), "\n")
	return strings.TrimSpace(line)
}
