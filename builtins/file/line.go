package file

import (
	"context"
	"fmt"
	"io/fs"
	"regexp"
	"slices"
	"strings"

	"github.com/pgrun/pgrun/runtime/builtin"
	"github.com/pgrun/pgrun/runtime/host"
)

// The rules are those of Ansible's lineinfile where its users rely on them: the last match is replaced,
// a line that is there already is not added again, what after or before do not find goes to the end.
// Other than there, before means the first match.
type lineParams struct {
	Path   string                         `star:"path,required" doc:"Absolute path of the file. A link is followed."`
	Line   builtin.Optional[builtin.Text] `star:"line" doc:"The line, without its newline."`
	Match  builtin.Optional[string]       `star:"match" doc:"Regular expression (RE2) for the line to replace or remove. It may match anywhere in the line: ^ and $ bind it."`
	After  builtin.Optional[string]       `star:"after" doc:"Regular expression: a new line goes after the last line that matches."`
	Before builtin.Optional[string]       `star:"before" doc:"Regular expression: a new line goes before the first line that matches; the empty one is the file's beginning."`
	State  string                         `star:"state" choices:"present absent" doc:"present or absent."`
	Create bool                           `star:"create" doc:"Whether the file is made if it does not exist."`
	contentParams
}

func checkLine(ctx context.Context, r host.Reader, p lineParams) (*builtin.Change, error) {
	e, err := p.edit()
	if err != nil {
		return nil, err
	}
	end, info, err := follow(ctx, r, p.Path)
	if err != nil {
		return nil, err
	}
	if info == nil {
		switch {
		case p.State == "absent":
			return nil, nil
		case !p.Create:
			return nil, host.NotThere("no file %s on the machine: say create = True to have it made", p.Path)
		}
		return planNew(ctx, r, Spec{end, p.text(e.apply("")), p.attributes(), Showing(p.Diff)}, nil)
	}
	if !info.Mode.IsRegular() {
		return nil, notFile(end, info)
	}
	if err := rewritten(ctx, r, end); err != nil {
		return nil, err
	}
	old, err := r.ReadFile(ctx, end)
	if err != nil {
		return nil, err
	}
	edited := e.apply(string(old))
	a := p.attributes()
	if e.absent && a.Mode == nil { // it is no reason to take the file from everyone that a secret is not in it
		mode := info.Mode &^ fs.ModeType
		a.Mode = &mode
	}
	return planReplace(ctx, r, Spec{end, p.text(edited), a, Showing(p.Diff)}, *info, content{string(old), true, edited == string(old)})
}

// text is an edited file: a secret if the line is one.
func (p lineParams) text(s string) builtin.Text {
	if p.Line.Value.IsSecret() {
		return builtin.Secret(s)
	}
	return builtin.Plain(s)
}

// edit checks the parameters and prepares what they ask for.
func (p lineParams) edit() (edit, error) {
	e := edit{line: p.Line.Value.Reveal(), absent: p.State == "absent"}
	if err := CheckFilePath("path", p.Path); err != nil {
		return e, err
	}
	switch {
	case !e.absent && !p.Line.Set:
		return e, fmt.Errorf("line is missing: state = \"present\" needs it")
	case e.absent && !p.Line.Set && !p.Match.Set:
		return e, fmt.Errorf("line and match are both missing: state = \"absent\" needs one of them")
	case e.absent && (p.After.Set || p.Before.Set):
		return e, fmt.Errorf("after and before say where a new line goes: state = \"absent\" has none")
	case p.After.Set && p.Before.Set:
		return e, fmt.Errorf("after and before are both given: choose one")
	case strings.ContainsAny(e.line, "\r\n"):
		return e, fmt.Errorf("line holds a line break: one line a call, or file.content for the whole file")
	}
	for _, x := range []struct {
		name string
		from builtin.Optional[string]
		to   **regexp.Regexp
	}{{"match", p.Match, &e.match}, {"after", p.After, &e.after}, {"before", p.Before, &e.before}} {
		if !x.from.Set {
			continue
		}
		compiled, err := regexp.Compile(x.from.Value)
		if err != nil {
			return e, fmt.Errorf("%s is not a regular expression: %w", x.name, err)
		}
		*x.to = compiled
	}
	return e, nil
}

// edit is what happens to a file's lines.
type edit struct {
	line                 string
	absent               bool
	match, after, before *regexp.Regexp // nil where not given
}

// apply edits a text. Line ends stay as they are; a last line without one gets one when another follows.
func (e edit) apply(text string) string {
	lines := slices.Collect(strings.Lines(text))
	if e.absent {
		return strings.Join(slices.DeleteFunc(lines, e.goes), "")
	}
	if at := last(lines, e.match); at >= 0 {
		lines[at] = e.line + ending(lines[at])
		return strings.Join(lines, "")
	}
	if slices.ContainsFunc(lines, func(l string) bool { return bare(l) == e.line }) {
		return text
	}
	at := len(lines)
	if i := last(lines, e.after); i >= 0 {
		at = i + 1
	}
	if e.before != nil {
		if i := slices.IndexFunc(lines, func(l string) bool { return e.before.MatchString(bare(l)) }); i >= 0 {
			at = i
		}
	}
	end := "\n"
	if len(lines) > 0 && ending(lines[0]) == "\r\n" {
		end = "\r\n"
	}
	if at > 0 && ending(lines[at-1]) == "" {
		lines[at-1] += end
	}
	return strings.Join(slices.Insert(lines, at, e.line+end), "")
}

// goes reports whether a line is to be removed.
func (e edit) goes(line string) bool {
	if e.match != nil {
		return e.match.MatchString(bare(line))
	}
	return bare(line) == e.line
}

// last is the index of the last line that matches, or -1.
func last(lines []string, match *regexp.Regexp) int {
	if match != nil {
		for i := len(lines) - 1; i >= 0; i-- {
			if match.MatchString(bare(lines[i])) {
				return i
			}
		}
	}
	return -1
}

// bare is a line without its end; ending is that end.
func bare(line string) string   { return strings.TrimSuffix(strings.TrimSuffix(line, "\n"), "\r") }
func ending(line string) string { return line[len(bare(line)):] }
