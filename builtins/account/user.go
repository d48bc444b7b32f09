package account

import (
	"context"
	"fmt"
	"path"
	"strconv"
	"strings"

	"github.com/pgrun/pgrun/runtime/builtin"
	"github.com/pgrun/pgrun/runtime/host"
)

type userParams struct {
	Name         string                         `star:"name,required" doc:"Its name."`
	UID          builtin.Optional[int]          `star:"uid" doc:"Its number. Files of a user whose number changes keep the old one, except in its home."`
	Group        string                         `star:"group" doc:"Primary group, by name or number. A new user without one gets a group of its own name."`
	Groups       builtin.Strings                `star:"groups" doc:"Groups that it is in besides, by name. They are added to those it is in already, none is taken away."`
	Home         string                         `star:"home" doc:"Home directory. One that the user has already is not moved."`
	Shell        string                         `star:"shell" doc:"Absolute path of its shell."`
	Comment      builtin.Optional[string]       `star:"comment" doc:"Comment, often the full name."`
	System       bool                           `star:"system" doc:"Whether a new user is a system user, with a number from that range and no ageing."`
	CreateHome   builtin.Optional[bool]         `star:"create_home" doc:"Whether a new user's home directory is made. If left out, it is, except for a system user."`
	PasswordHash builtin.Optional[builtin.Text] `star:"password_hash" doc:"Hash of its password, as crypt(5) has it: \"$y$...\" or \"$6$...\", made by mkpasswd. Unlocks the password unless locked = True."`
	Locked       builtin.Optional[bool]         `star:"locked" doc:"Whether its password is locked: no login with it, others (keys) go on. A new user's is until it has one."`
}

func checkUser(ctx context.Context, r host.Reader, p userParams) (*builtin.Change, error) {
	if err := p.validate(); err != nil {
		return nil, err
	}
	u, err := findUser(ctx, r, p.Name)
	if err != nil {
		return nil, err
	}
	keys := append([]string{}, p.Groups...)
	if p.Group != "" {
		keys = append(keys, p.Group)
	} else if u == nil {
		keys = append(keys, p.Name)
	}
	groups, err := findGroups(ctx, r, keys...)
	if err != nil {
		return nil, err
	}
	for i, key := range keys {
		if _, exists := groups[key]; !exists && (i < len(p.Groups) || p.Group != "") {
			parameter := "groups"
			if i == len(p.Groups) {
				parameter = "group"
			}
			return nil, host.NotThere("%s: no group %q on the machine: make it first, with group.present", parameter, key)
		}
	}
	if u == nil && p.Locked.Set && !p.Locked.Value && !p.PasswordHash.Set {
		return nil, fmt.Errorf("locked = False: a new user has no password to unlock: give password_hash")
	}
	if u == nil {
		_, ownGroup := groups[p.Name]
		return p.create(ownGroup && p.Group == ""), nil
	}
	password, err := p.planPassword(ctx, r)
	if err != nil {
		return nil, err
	}
	return builtin.Join(p.modify(u, groups), password), nil
}

func (p userParams) validate() error {
	if err := checkName("name", p.Name); err != nil {
		return err
	}
	if err := checkNumber("uid", p.UID); err != nil {
		return err
	}
	if _, err := strconv.ParseUint(p.Group, 10, 32); p.Group != "" && err != nil {
		if err := checkName("group", p.Group); err != nil {
			return err
		}
	}
	for _, g := range p.Groups {
		if err := checkName("groups: item", g); err != nil {
			return err
		}
	}
	for _, x := range []struct{ name, path string }{{"home", p.Home}, {"shell", p.Shell}} {
		if x.path != "" && (!path.IsAbs(x.path) || strings.ContainsAny(x.path, ":\n")) {
			return fmt.Errorf("%s %q is not an absolute path, or holds a colon or line break", x.name, x.path)
		}
	}
	if strings.ContainsAny(p.Comment.Value, ":\n") {
		return fmt.Errorf("comment %q holds a colon or line break", p.Comment.Value)
	}
	return p.validatePassword()
}

// create makes the user. ownGroup says that a group of its name exists, which useradd would refuse to make.
func (p userParams) create(ownGroup bool) *builtin.Change {
	kind := "user"
	argv := []string{"useradd"}
	if p.System {
		kind = "system user"
		argv = append(argv, "--system")
	}
	var details []string
	option := func(name, value, detail string) {
		argv = append(argv, name, value)
		details = append(details, detail+" "+value)
	}
	if p.UID.Set {
		option("--uid", strconv.Itoa(p.UID.Value), "uid")
	}
	switch {
	case p.Group != "":
		option("--gid", p.Group, "group")
	case ownGroup:
		option("--gid", p.Name, "group")
	}
	if len(p.Groups) > 0 {
		option("--groups", strings.Join(p.Groups, ","), "groups")
	}
	if p.Home != "" {
		option("--home-dir", p.Home, "home")
	}
	if p.Shell != "" {
		option("--shell", p.Shell, "shell")
	}
	if p.Comment.Set {
		argv = append(argv, "--comment", p.Comment.Value)
	}
	if home := !p.System; p.CreateHome.Set && p.CreateHome.Value || !p.CreateHome.Set && home {
		argv = append(argv, "--create-home")
	} else {
		argv = append(argv, "--no-create-home")
	}
	if p.PasswordHash.Set {
		details = append(details, "with a password")
	}
	summary := fmt.Sprintf("create %s %s", kind, p.Name)
	if len(details) > 0 {
		summary += " (" + strings.Join(details, ", ") + ")"
	}
	return &builtin.Change{
		Summary: []string{summary},
		Apply: func(ctx context.Context, h host.Host) error {
			if err := runWith(ctx, h, append(argv, p.Name), ""); err != nil {
				return err
			}
			if !p.PasswordHash.Set {
				return nil // locked, as useradd makes it
			}
			return p.setPassword(ctx, h)
		},
	}
}

// modify gives a user that exists what differs; nil where nothing does.
func (p userParams) modify(u *user, groups map[string]group) *builtin.Change {
	argv := []string{"usermod"}
	var what, before, after []string
	set := func(option, name, has, want string) {
		argv = append(argv, option, want)
		what = append(what, name+" "+want)
		before = append(before, name+" "+has+"\n")
		after = append(after, name+" "+want+"\n")
	}
	if p.UID.Set && p.UID.Value != u.uid {
		set("--uid", "uid", strconv.Itoa(u.uid), strconv.Itoa(p.UID.Value))
	}
	if g := groups[p.Group]; p.Group != "" && g.gid != u.gid {
		set("--gid", "group", strconv.Itoa(u.gid), strconv.Itoa(g.gid))
	}
	if p.Home != "" && p.Home != u.home {
		set("--home", "home", u.home, p.Home)
	}
	if p.Shell != "" && p.Shell != u.shell {
		set("--shell", "shell", u.shell, p.Shell)
	}
	if p.Comment.Set && p.Comment.Value != u.comment {
		set("--comment", "comment", u.comment, p.Comment.Value)
	}
	var added []string
	for _, name := range p.Groups {
		if g := groups[name]; !g.has(p.Name) && g.gid != u.gid {
			added = append(added, name)
			after = append(after, "in group "+name+"\n")
		}
	}
	if len(added) > 0 {
		argv = append(argv, "--append", "--groups", strings.Join(added, ","))
		what = append(what, "in "+strings.Join(added, ", "))
	}
	if len(what) == 0 {
		return nil
	}
	return &builtin.Change{
		Summary: []string{fmt.Sprintf("change user %s: %s", p.Name, strings.Join(what, ", "))},
		Diffs:   []builtin.Diff{{Path: "user " + p.Name, Before: strings.Join(before, ""), After: strings.Join(after, "")}},
		Apply:   run(append(argv, p.Name)),
	}
}

type userAbsentParams struct {
	Name       string `star:"name,required" doc:"Its name."`
	RemoveHome bool   `star:"remove_home" doc:"Whether its home directory and mail go too."`
}

func checkUserAbsent(ctx context.Context, r host.Reader, p userAbsentParams) (*builtin.Change, error) {
	if err := checkName("name", p.Name); err != nil {
		return nil, err
	}
	u, err := findUser(ctx, r, p.Name)
	if err != nil || u == nil {
		return nil, err
	}
	if u.uid == 0 {
		return nil, fmt.Errorf("name %q is the superuser", p.Name)
	}
	argv, summary := []string{"userdel"}, "remove user "+p.Name
	if p.RemoveHome {
		argv = append(argv, "--remove")
		summary += " and its home " + u.home
	}
	return &builtin.Change{Summary: []string{summary}, Apply: run(append(argv, p.Name))}, nil
}
