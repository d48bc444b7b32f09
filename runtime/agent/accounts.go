package agent

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
)

// accounts knows the machine's users and groups from /etc/passwd and /etc/group, read again when they
// have changed. Accounts that live elsewhere (LDAP) have only their numbers here.
type accounts struct {
	mu     sync.Mutex
	users  database[account]
	groups database[group]
}

// account is a line of /etc/passwd.
type account struct {
	name        string
	uid, gid    uint32
	home, shell string
}

// group is a line of /etc/group.
type group struct {
	name    string
	gid     uint32
	members []string
}

// unknownAccount says that there is no such user or group. It counts as fs.ErrNotExist: in a dry run
// the change that makes the account may be pending.
type unknownAccount struct{ kind, name, file string }

func (e *unknownAccount) Error() string {
	return fmt.Sprintf("no %s %q on the machine (in %s)", e.kind, e.name, e.file)
}
func (e *unknownAccount) Unwrap() error { return fs.ErrNotExist }

const (
	passwdFile = "/etc/passwd"
	groupFile  = "/etc/group"
)

// user finds an account by its name, or else its number.
func (a *accounts) user(nameOrNumber string) (account, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	users, err := a.users.load(passwdFile, parseAccount)
	if err != nil {
		return account{}, err
	}
	for _, u := range users {
		if u.name == nameOrNumber {
			return u, nil
		}
	}
	if n, err := strconv.ParseUint(nameOrNumber, 10, 32); err == nil {
		for _, u := range users {
			if u.uid == uint32(n) {
				return u, nil
			}
		}
	}
	return account{}, &unknownAccount{"user", nameOrNumber, passwdFile}
}

// uid is the number of a user given by name or number; a number needs no account.
func (a *accounts) uid(nameOrNumber string) (int, error) {
	u, err := a.user(nameOrNumber)
	if err == nil {
		return int(u.uid), nil
	}
	if n, numErr := strconv.ParseUint(nameOrNumber, 10, 32); numErr == nil {
		return int(n), nil
	}
	return 0, err
}

// gid is the number of a group given by name or number; a number needs no entry.
func (a *accounts) gid(nameOrNumber string) (int, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	groups, err := a.groups.load(groupFile, parseGroup)
	if err != nil {
		return 0, err
	}
	for _, g := range groups {
		if g.name == nameOrNumber {
			return int(g.gid), nil
		}
	}
	if n, err := strconv.ParseUint(nameOrNumber, 10, 32); err == nil {
		return int(n), nil
	}
	return 0, &unknownAccount{"group", nameOrNumber, groupFile}
}

// groupsOf lists the groups of a user, its own first.
func (a *accounts) groupsOf(u account) ([]uint32, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	groups, err := a.groups.load(groupFile, parseGroup)
	if err != nil {
		return nil, err
	}
	gids := []uint32{u.gid}
	for _, g := range groups {
		for _, m := range g.members {
			if m == u.name && g.gid != u.gid {
				gids = append(gids, g.gid)
			}
		}
	}
	return gids, nil
}

// userName is the name of a number, or the number itself.
func (a *accounts) userName(uid uint32) string {
	a.mu.Lock()
	defer a.mu.Unlock()
	users, _ := a.users.load(passwdFile, parseAccount)
	for _, u := range users {
		if u.uid == uid {
			return u.name
		}
	}
	return strconv.FormatUint(uint64(uid), 10)
}

// groupName is the name of a number, or the number itself.
func (a *accounts) groupName(gid uint32) string {
	a.mu.Lock()
	defer a.mu.Unlock()
	groups, _ := a.groups.load(groupFile, parseGroup)
	for _, g := range groups {
		if g.gid == gid {
			return g.name
		}
	}
	return strconv.FormatUint(uint64(gid), 10)
}

// database is a parsed file and what the file was like when it was parsed.
type database[T any] struct {
	entries []T
	size    int64
	inode   uint64
	changed syscall.Timespec
}

func (d *database[T]) load(path string, parse func([]string) (T, bool)) ([]T, error) {
	var st syscall.Stat_t
	if err := syscall.Stat(path, &st); err != nil {
		if err == syscall.ENOENT {
			return nil, nil // a machine without accounts has numbers only
		}
		return nil, fmt.Errorf("reading accounts: stat %s: %w", path, err)
	}
	if d.inode == st.Ino && d.size == st.Size && d.changed == st.Ctim {
		return d.entries, nil
	}
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading accounts: %w", err)
	}
	d.entries = nil
	for line := range bytes.Lines(content) {
		if entry, ok := parse(strings.Split(strings.TrimSpace(string(line)), ":")); ok {
			d.entries = append(d.entries, entry)
		}
	}
	d.inode, d.size, d.changed = st.Ino, st.Size, st.Ctim
	return d.entries, nil
}

// parseAccount reads name:password:uid:gid:comment:home:shell (passwd(5)).
func parseAccount(f []string) (account, bool) {
	if len(f) < 7 || strings.HasPrefix(f[0], "#") {
		return account{}, false
	}
	uid, err1 := strconv.ParseUint(f[2], 10, 32)
	gid, err2 := strconv.ParseUint(f[3], 10, 32)
	return account{name: f[0], uid: uint32(uid), gid: uint32(gid), home: f[5], shell: f[6]}, err1 == nil && err2 == nil
}

// parseGroup reads name:password:gid:member,member (group(5)).
func parseGroup(f []string) (group, bool) {
	if len(f) < 4 || strings.HasPrefix(f[0], "#") {
		return group{}, false
	}
	gid, err := strconv.ParseUint(f[2], 10, 32)
	g := group{name: f[0], gid: uint32(gid)}
	if f[3] != "" {
		g.members = strings.Split(f[3], ",")
	}
	return g, err == nil
}
