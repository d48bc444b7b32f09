package load

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"go.starlark.net/syntax"

	"github.com/pgrun/pgrun/runtime/suggest"
)

var (
	unexpected = regexp.MustCompile(`^got ([a-z]+), want `)
	unclosed   = regexp.MustCompile(`^got .*, want '[,)\]}]'$`)
	formatted  = regexp.MustCompile(`(?i)\b(f|fr|rf)["']`)
	lastWord   = regexp.MustCompile(`[a-z_]*$`)
	asserted   = regexp.MustCompile(`^\s*assert\b`)
	yamlLine   = regexp.MustCompile(`^(---|- +[a-z_]+:|[a-z_]+:( |$))`)
)

// indentation says what is wrong with the beginning or the end of a line.
var indentation = map[string]string{
	"got indent, want primary expression": "this line is indented deeper than the one before it: indent a block's lines alike, with four spaces",
	"got newline, want ':'":               "the line of a def, if, else or for ends with a colon",
}

// habitual adds to a syntax error what to write in place of what Python, or an Ansible playbook, has there.
func habitual(err error, source []byte) error {
	var e syntax.Error
	if !errors.As(err, &e) {
		return err
	}
	if isYAML(source) {
		return fmt.Errorf("%w: this is YAML: a playbook or an inventory is a Starlark file, see docs/playbooks.md", err)
	}
	line := lineOf(source, e.Pos)
	column := min(len(line), max(0, int(e.Pos.Col)-1))
	hint := indentation[e.Msg]
	if got := unexpected.FindStringSubmatch(e.Msg); hint == "" && got != nil {
		hint = suggest.Habit(got[1])
	}
	if hint == "" && e.Msg == "got identifier, want newline" {
		hint = suggest.TaskKeyword(lastWord.FindString(line[:column]))
	}
	switch {
	case hint != "":
	case strings.HasSuffix(e.Msg, "want indent"):
		hint = "the lines that belong to a def, if, else or for are indented, with four spaces"
	case unclosed.MatchString(e.Msg) && len(strings.Fields(line[:column])) <= 1: // the first on its line
		hint = "a bracket that an earlier line opens is not closed there, or a comma is missing"
	case strings.HasPrefix(e.Msg, "got string literal") && formatted.MatchString(line):
		hint = `there are no f-strings: write "%s on %s" % (a, b)`
	case strings.HasPrefix(e.Msg, "obsolete form of octal literal"):
		hint = `a file's mode is a string: "0644"`
	case asserted.MatchString(line):
		hint = suggest.Habit("assert")
	default:
		return err
	}
	return fmt.Errorf("%w: %s", err, hint)
}

// isYAML looks at the first line that is neither empty nor a comment.
func isYAML(source []byte) bool {
	for line := range bytes.Lines(source) {
		if trimmed := bytes.TrimSpace(line); len(trimmed) > 0 && trimmed[0] != '#' {
			return yamlLine.Match(line)
		}
	}
	return false
}

func lineOf(source []byte, at syntax.Position) string {
	lines := bytes.Split(source, []byte("\n"))
	if i := int(at.Line) - 1; i >= 0 && i < len(lines) {
		return string(lines[i])
	}
	return ""
}
