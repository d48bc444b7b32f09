// Package file is the module file: files, directories and links of a host.
//
// What a call leaves out stays as it is: a file that is replaced keeps its owner, group and mode, a new
// one is root's with mode 0644, or 0600 when its content is a secret; a new directory has 0755. A file that
// is to hold a secret is taken from everyone but its owner and group, unless a mode is given. Paths are
// absolute and have no "..". Files are replaced as a whole, by rename: nobody sees half of one.
//
// Other modules write files with PlanContent rather than by themselves.
package file

import "github.com/pgrun/pgrun/runtime/builtin"

// Module returns the module file.
func Module() builtin.Module {
	return builtin.Module{
		Name: "file",
		Doc: "Files, directories and links. What a call leaves out (owner, group, mode) stays as it is; a new file is root's with mode 0644, or 0600 if its content is a secret, a new directory with 0755. A path is absolute, and has no .. in it. " +
			"A file that gets a secret as content is taken from everyone but its owner and group, unless a mode is given. The content of a file that not everyone may read is shown by --diff only with diff = True.",
		Builtins: []builtin.Builtin{
			&builtin.Action[wholeParams]{
				Name:  "content",
				Doc:   "Gives a file this very content. A link that stands at the path is replaced by the file; the directory must exist.",
				Check: checkContent,
			},
			&builtin.Action[templateParams]{
				Name:  "template",
				Doc:   "Gives a file the content of a template that is filled in. The same as file.content(h, path, content = template(...)).",
				Check: checkTemplate,
			},
			&builtin.Action[copyParams]{
				Name:  "copy",
				Doc:   "Copies a file, or a directory with all below it, from the project to the host. Files of any size; what else stands in a directory on the host is left alone. Without a mode, new files that are executable in the project are so on the host.",
				Check: checkCopy,
			},
			&builtin.Action[directoryParams]{
				Name:     "directory",
				Doc:      "Makes a directory, or gives one that exists its owner, group and mode. A link to a directory counts as one.",
				Defaults: directoryParams{Parents: true},
				Check:    checkDirectory,
			},
			&builtin.Action[linkParams]{
				Name:  "link",
				Doc:   "Makes a symbolic link. Another link at the path is replaced.",
				Check: checkLink,
			},
			&builtin.Action[absentParams]{
				Name:  "absent",
				Doc:   "Removes a file, a link or an empty directory, or with recursive = True a directory and all below it.",
				Check: checkAbsent,
			},
			&builtin.Action[lineParams]{
				Name: "line",
				Doc: "Makes sure of one line in a text file. The last line that matches is replaced by it; where none does, and the line is not there already, " +
					"it is added: after the last line that matches after, before the first that matches before, else at the end. " +
					"With state = \"absent\" every line that matches, or that equals the line, goes. A link is followed.",
				Defaults: lineParams{State: "present"},
				Check:    checkLine,
			},
			&builtin.Look[readParams, builtin.Text]{
				Name: "read",
				Doc:  "Returns a file's content, 16 MiB at most.",
				Run:  read,
			},
			&builtin.Look[pathParams, status]{
				Name: "stat",
				Doc:  "Describes what stands at a path, which may be nothing. A link is not followed.",
				Run:  stat,
			},
			&builtin.Look[pathParams, []string]{
				Name: "list",
				Doc:  "Lists the names of what is in a directory, in their order.",
				Run:  list,
			},
			&builtin.Look[pathParams, string]{
				Name: "hash",
				Doc:  "Returns a file's SHA-256, in lower-case hexadecimal.",
				Run:  hash,
			},
		},
	}
}
