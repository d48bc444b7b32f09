package account

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/pgrun/pgrun/runtime/host"
)

// validName is what useradd(8) of Debian accepts by default, less strict about upper case.
var validName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_.-]*\$?$`)

// checkName refuses what can be no account's name. The parameter is what it was given as.
func checkName(parameter, name string) error {
	if len(name) > 32 || !validName.MatchString(name) {
		return fmt.Errorf("%s %q is not a name for an account: letters, digits, _, . and -, beginning with a letter or _, 32 at most", parameter, name)
	}
	return nil
}

// getent asks for entries of a database; those that are not there are left out.
func getent(ctx context.Context, r host.Reader, database string, keys ...string) ([][]string, error) {
	c := host.Command{Argv: append([]string{"getent", database}, keys...)}
	out, err := r.Look(ctx, c)
	if err != nil {
		return nil, err
	}
	if out.RC != 0 && out.RC != 2 { // 2: one or more keys could not be found
		return nil, &host.Failed{Command: c.String(), Output: out}
	}
	var entries [][]string
	for line := range strings.Lines(out.Stdout) {
		entries = append(entries, strings.Split(strings.TrimRight(line, "\n"), ":"))
	}
	return entries, nil
}

// user is an entry of passwd(5).
type user struct {
	name, comment, home, shell string
	uid, gid                   int
}

// findUser returns a user, or nil where there is none.
func findUser(ctx context.Context, r host.Reader, name string) (*user, error) {
	entries, err := getent(ctx, r, "passwd", name)
	if err != nil || len(entries) == 0 {
		return nil, err
	}
	f := entries[0]
	if len(f) < 7 {
		return nil, fmt.Errorf("getent passwd %s: %d fields, want 7", name, len(f))
	}
	uid, err1 := strconv.Atoi(f[2])
	gid, err2 := strconv.Atoi(f[3])
	if err1 != nil || err2 != nil {
		return nil, fmt.Errorf("getent passwd %s: numbers %q and %q", name, f[2], f[3])
	}
	return &user{name: f[0], uid: uid, gid: gid, comment: f[4], home: f[5], shell: f[6]}, nil
}

// group is an entry of group(5).
type group struct {
	name    string
	gid     int
	members []string
}

func (g group) has(member string) bool { return slices.Contains(g.members, member) }

// findGroups returns those of the groups that exist, by the keys asked for: names or numbers.
func findGroups(ctx context.Context, r host.Reader, keys ...string) (map[string]group, error) {
	if len(keys) == 0 {
		return nil, nil
	}
	entries, err := getent(ctx, r, "group", keys...)
	if err != nil {
		return nil, err
	}
	found := map[string]group{}
	for _, f := range entries {
		if len(f) < 4 {
			return nil, fmt.Errorf("getent group: %d fields, want 4", len(f))
		}
		gid, err := strconv.Atoi(f[2])
		if err != nil {
			return nil, fmt.Errorf("getent group: number %q", f[2])
		}
		g := group{name: f[0], gid: gid}
		if f[3] != "" {
			g.members = strings.Split(f[3], ",")
		}
		for _, key := range keys {
			if key == g.name || key == f[2] {
				found[key] = g
			}
		}
	}
	return found, nil
}

// info is what user.info returns.
type info struct {
	Exists  bool     `star:"exists" doc:"Whether the user exists. If not, the other attributes are empty."`
	Name    string   `star:"name" doc:"Name."`
	UID     int      `star:"uid" doc:"Number."`
	GID     int      `star:"gid" doc:"Number of the primary group."`
	Groups  []string `star:"groups" doc:"Names of all groups, the primary one first."`
	Home    string   `star:"home" doc:"Home directory."`
	Shell   string   `star:"shell" doc:"Shell."`
	Comment string   `star:"comment" doc:"Comment, often the full name."`
}

func userInfo(ctx context.Context, r host.Reader, p nameParams) (info, error) {
	if err := checkName("name", p.Name); err != nil {
		return info{}, err
	}
	u, err := findUser(ctx, r, p.Name)
	if err != nil || u == nil {
		return info{Name: p.Name, Groups: []string{}}, err
	}
	c := host.Command{Argv: []string{"id", "-Gn", p.Name}}
	out, err := host.Succeeded(c)(r.Look(ctx, c))
	if err != nil {
		return info{}, err
	}
	return info{true, u.name, u.uid, u.gid, strings.Fields(out.Stdout), u.home, u.shell, u.comment}, nil
}
