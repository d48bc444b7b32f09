package agent

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// A journal is a file in which an agent notes what must not outlive it: the process groups of its
// running commands and its temporary files. The agent holds a lock on it for as long as it lives, so
// that a journal whose lock is free belongs to a dead one. Every agent that can write begins with a
// sweep of those.
//
// The file is a row of slots of slotSize bytes, each written by one pwrite, so that it stays as
// small as the number of things under way and is never half-rewritten. Slot 0 says which process
// numbers the others are about. A slot that begins with a zero byte is free. The file lives in /run,
// which is gone with the next boot, as are the processes.
type journal struct {
	f    *os.File
	name string // the token that its commands carry in their environment

	mu   sync.Mutex
	used []bool // by slot
}

const (
	slotSize = 4096 + 64 // PATH_MAX, a kind and some numbers

	journalPrefix = "journal-"

	// journalVariable names the journal in a command's environment. It tells the sweep that a process
	// whose group leader is gone belongs to that group and not to a later one of the same number.
	journalVariable = "PGRUN_JOURNAL"
)

// RunDir is the folder of the journals for the user that pgrun runs as: /run/pgrun for root, else
// pgrun under $XDG_RUNTIME_DIR. It is empty where there is none.
func RunDir() string {
	if os.Geteuid() == 0 {
		return "/run/pgrun"
	}
	return runDirIn(os.Getenv("XDG_RUNTIME_DIR"))
}

// runDirIn is RunDir in a folder that is the user's own: with su and sudo that of another user may be named.
func runDirIn(dir string) string {
	var st unix.Stat_t
	if unix.Stat(dir, &st) != nil || st.Mode&unix.S_IFMT != unix.S_IFDIR || int(st.Uid) != os.Geteuid() {
		return ""
	}
	return filepath.Join(dir, "pgrun")
}

// openJournal sweeps dir and makes a journal there.
func openJournal(dir string) (*journal, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the agent's folder: %w", err)
	}
	if err := ownFolder(dir); err != nil {
		return nil, err
	}
	sweep(dir)
	for {
		name := journalPrefix + randomText()
		f, err := os.OpenFile(filepath.Join(dir, name), os.O_CREATE|os.O_EXCL|os.O_RDWR|unix.O_NOFOLLOW, 0o600)
		if err != nil {
			return nil, fmt.Errorf("make the agent's journal: %w", err)
		}
		// Another agent's sweep may come between the two steps, and take the file for a dead one's.
		if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
			_ = f.Close()
			return nil, fmt.Errorf("lock the agent's journal: %w", err)
		}
		var st unix.Stat_t
		if err := unix.Fstat(int(f.Fd()), &st); err == nil && st.Nlink == 0 {
			_ = f.Close()
			continue
		}
		j := &journal{f: f, name: name}
		if _, err := j.note("here " + processNumbers()); err != nil {
			j.close()
			return nil, err
		}
		return j, nil
	}
}

// ownFolder refuses a folder that another user could have prepared.
func ownFolder(dir string) error {
	var st unix.Stat_t
	if err := unix.Lstat(dir, &st); err != nil {
		return fmt.Errorf("the agent's folder: %w", pathError("stat", dir, err))
	}
	if st.Mode&unix.S_IFMT != unix.S_IFDIR || int(st.Uid) != os.Geteuid() || st.Mode&0o022 != 0 {
		return fmt.Errorf("the agent's folder %s must be a directory that only its user can write to: remove it", dir)
	}
	return nil
}

// close removes the journal. Whatever it still lists stays: close is called when nothing is under way,
// or when what is cannot be ended.
func (j *journal) close() {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, used := range j.used[min(1, len(j.used)):] {
		if used {
			_ = j.f.Close() // the next sweep finds it
			return
		}
	}
	_ = os.Remove(j.f.Name())
	_ = j.f.Close()
}

// file notes a temporary file until done is called. A nil journal notes nothing.
func (j *journal) file(path string) (done func(), err error) {
	if j == nil {
		return func() {}, nil
	}
	return j.note("file " + path)
}

// group notes a process group, by its leader, until done is called.
func (j *journal) group(pid int) (done func(), err error) {
	if j == nil {
		return func() {}, nil
	}
	return j.note(fmt.Sprintf("group %d %s", pid, startTime(pid)))
}

// environment is what a command's environment says about its journal.
func (j *journal) environment() []string {
	if j == nil {
		return nil
	}
	return []string{journalVariable + "=" + j.name}
}

// note writes text to a free slot. done frees it.
func (j *journal) note(text string) (done func(), err error) {
	if len(text) > slotSize {
		return nil, fmt.Errorf("%.60s...: the path is too long", text)
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	slot := 0
	for slot < len(j.used) && j.used[slot] {
		slot++
	}
	if slot == len(j.used) {
		j.used = append(j.used, false)
	}
	record := make([]byte, len(text)+1) // the zero byte ends it
	copy(record, text)
	if _, err := j.f.WriteAt(record[:min(len(record), slotSize)], int64(slot)*slotSize); err != nil {
		return nil, fmt.Errorf("write the agent's journal: %w", err)
	}
	j.used[slot] = true
	return func() {
		j.mu.Lock()
		defer j.mu.Unlock()
		j.used[slot] = false
		_, _ = j.f.WriteAt([]byte{0}, int64(slot)*slotSize)
	}, nil
}

// pushPrefix begins the name of a file that an agent is pushed into; the number of the pushing process ends it.
const pushPrefix = ".new-"

// sweep ends what dead agents left behind, and pushes that were killed. What cannot be ended or read is left for the
// next sweep: it must not keep this agent from its work.
func sweep(dir string) {
	pushes, _ := filepath.Glob(filepath.Join(dir, pushPrefix+"*"))
	for _, name := range pushes {
		_, pid, _ := strings.Cut(filepath.Base(name), pushPrefix)
		if n, err := strconv.Atoi(pid); err == nil && startTime(n) == "" {
			_ = os.Remove(name)
		}
	}
	names, err := filepath.Glob(filepath.Join(dir, journalPrefix+"*"))
	if err != nil {
		return
	}
	for _, name := range names {
		sweepJournal(name)
	}
}

// sweepJournal ends what one journal lists and removes it, unless its agent lives.
func sweepJournal(path string) {
	f, err := os.OpenFile(path, os.O_RDWR|unix.O_NOFOLLOW, 0)
	if err != nil {
		return
	}
	defer f.Close()
	if unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) != nil {
		return
	}
	content, err := os.ReadFile(path)
	if err != nil {
		return
	}
	here, rest := record(content), content
	if here != "" && here != "here "+processNumbers() {
		return // of another container, with which this one shares its /run: its processes are not ours to see
	}
	for len(rest) > 0 {
		kind, what, _ := strings.Cut(record(rest), " ")
		switch kind {
		case "file":
			if isTemp(what) {
				_ = os.Remove(what)
			}
		case "group":
			pid, started, _ := strings.Cut(what, " ")
			if n, err := strconv.Atoi(pid); err == nil && n > 1 {
				killGroup(n, started, filepath.Base(path))
			}
		}
		rest = rest[min(slotSize, len(rest)):]
	}
	_ = os.Remove(path)
}

// record is the text of the slot that b begins with.
func record(b []byte) string {
	text, _, _ := bytes.Cut(b[:min(slotSize, len(b))], []byte{0})
	return string(text)
}

// killGroup kills a process group of a dead agent. Where its leader still lives, the leader's start time
// tells that it is the same one. Else those members are killed that carry the journal's name.
func killGroup(pgid int, started, journal string) {
	if now := startTime(pgid); now != "" {
		if now == started {
			_ = unix.Kill(-pgid, unix.SIGKILL)
		}
		return
	}
	mark := []byte(journalVariable + "=" + journal)
	// A process may be forking; look again until a round finds none.
	for range 10 {
		found := false
		for _, pid := range groupMembers(pgid) {
			environ, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
			if err != nil {
				continue
			}
			for entry := range bytes.SplitSeq(environ, []byte{0}) {
				if bytes.Equal(entry, mark) {
					found = unix.Kill(pid, unix.SIGKILL) == nil || found
				}
			}
		}
		if !found {
			return
		}
		time.Sleep(time.Millisecond)
	}
}

// groupMembers lists the live processes of a group.
func groupMembers(pgid int) []int {
	d, err := os.Open("/proc")
	if err != nil {
		return nil
	}
	defer d.Close()
	names, _ := d.Readdirnames(-1)
	var pids []int
	for _, name := range names {
		pid, err := strconv.Atoi(name)
		if err != nil {
			continue
		}
		// Fields of proc_pid_stat(5) after the name: state, parent, group.
		if f := statFields(pid); len(f) > 2 && f[0] != "Z" && f[2] == strconv.Itoa(pgid) {
			pids = append(pids, pid)
		}
	}
	return pids
}

// startTime is when a process started, in clock ticks since boot, or "" where there is no such process.
func startTime(pid int) string {
	const starttime = 22 - 3 // field 22 of proc_pid_stat(5), counted from the state, field 3
	if f := statFields(pid); len(f) > starttime {
		return f[starttime]
	}
	return ""
}

// statFields returns the fields of /proc/<pid>/stat after the process's name, which may hold anything.
func statFields(pid int) []string {
	content, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return nil
	}
	i := bytes.LastIndexByte(content, ')')
	if i < 0 {
		return nil
	}
	return strings.Fields(string(content[i+1:]))
}

// processNumbers identifies the set of process numbers that this agent sees: the boot and the PID
// namespace.
func processNumbers() string {
	boot, _ := os.ReadFile("/proc/sys/kernel/random/boot_id")
	namespace, _ := os.Readlink("/proc/self/ns/pid")
	return strings.TrimSpace(string(boot)) + " " + namespace
}
