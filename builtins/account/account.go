// Package account holds the modules user and group.
//
// Accounts are looked at with getent(1), so that those of a directory service count as present, and
// changed with useradd(8) and its siblings. No clear password gets here: user.present takes a hash, which
// goes to chpasswd(8) on its standard input.
package account

import "github.com/pgrun/pgrun/runtime/builtin"

// User returns the module user.
func User() builtin.Module {
	return builtin.Module{
		Name: "user",
		Doc:  "Users. What a call leaves out stays as it is, or is what useradd makes it.",
		Builtins: []builtin.Builtin{
			&builtin.Action[userParams]{
				Name:  "present",
				Doc:   "Makes a user, or gives one that exists what the call names.",
				Check: checkUser,
			},
			&builtin.Action[userAbsentParams]{
				Name:  "absent",
				Doc:   "Removes a user. Its files stay, unless remove_home = True.",
				Check: checkUserAbsent,
			},
			&builtin.Look[nameParams, info]{
				Name: "info",
				Doc:  "Describes a user, who may not exist.",
				Run:  userInfo,
			},
		},
	}
}

// Group returns the module group.
func Group() builtin.Module {
	return builtin.Module{
		Name: "group",
		Doc:  "Groups. Who is in one is said with user.present(groups = ...).",
		Builtins: []builtin.Builtin{
			&builtin.Action[groupParams]{
				Name:  "present",
				Doc:   "Makes a group, or gives one that exists its number.",
				Check: checkGroup,
			},
			&builtin.Action[nameParams]{
				Name:  "absent",
				Doc:   "Removes a group. One that is a user's primary group cannot be removed.",
				Check: checkGroupAbsent,
			},
		},
	}
}

type nameParams struct {
	Name string `star:"name,required" doc:"Its name."`
}
