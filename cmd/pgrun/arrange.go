package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/pgrun/pgrun/runtime/suggest"
)

// arrange puts the options before the other arguments. The cli package stops looking for options at the
// first argument that is none, so that `pgrun x.star --check` would run for real. An option that is not
// known is refused wherever it stands; what follows -- is no option.
func arrange(app *cli.App, argv []string) ([]string, error) {
	known := options{"help": {"help", false}, "h": {"help", false}}
	for _, f := range app.Flags {
		_, isBool := f.(*cli.BoolFlag)
		for _, name := range f.Names() {
			known[name] = option{f.Names()[0], !isBool}
		}
	}
	var before, rest []string
	for i := 1; i < len(argv); i++ {
		arg := argv[i]
		if arg == "--" {
			rest = append(rest, argv[i+1:]...)
			break
		}
		if len(arg) < 2 || arg[0] != '-' {
			rest = append(rest, arg)
			continue
		}
		words, needsValue, err := known.spell(arg)
		if err != nil {
			return nil, err
		}
		if needsValue {
			if i++; i == len(argv) {
				return nil, &usageError{fmt.Sprintf("option %s needs a value", arg)}
			}
			words[len(words)-1] += "=" + argv[i]
		}
		before = append(before, words...)
	}
	if asked := slices.Index(before, "--help"); asked >= 0 { // the cli package takes what follows it for a topic
		switch {
		case len(rest) == 0:
			return []string{argv[0], "--help"}, nil
		case app.Command(rest[0]) != nil:
			return []string{argv[0], rest[0], "--help"}, nil
		}
		before[asked] = "--list-params" // what a playbook is for
	}
	if len(rest) > 0 && app.Command(rest[0]) != nil {
		if len(before) > 0 {
			option, _, _ := strings.Cut(before[0], "=")
			return nil, &usageError{fmt.Sprintf("pgrun %s has no option %s", rest[0], option)}
		}
		return slices.Concat(argv[:1], rest[:1], []string{"--"}, rest[1:]), nil
	}
	return slices.Concat(argv[:1], before, []string{"--"}, rest), nil
}

// option is what is known of an option: its first name, and whether a value follows.
type option struct {
	name       string
	takesValue bool
}

// options are the known ones, by each of their names.
type options map[string]option

// spell writes an option out with its first name: -CD as --check --diff, -eKEY=VALUE as --extra-vars=KEY=VALUE.
// It says whether the value of the last one is still to come.
func (known options) spell(arg string) (words []string, needsValue bool, err error) {
	name, value, hasValue := strings.Cut(strings.TrimLeft(arg, "-"), "=")
	if o, ok := known[name]; ok && (strings.HasPrefix(arg, "--") || len(name) == 1) {
		if hasValue {
			return []string{"--" + o.name + "=" + value}, false, nil
		}
		return []string{"--" + o.name}, o.takesValue, nil
	}
	if strings.HasPrefix(arg, "--") {
		return nil, false, known.unknown(arg, name)
	}
	for i, letter := range arg[1:] {
		o, ok := known[string(letter)]
		switch {
		case !ok:
			return nil, false, known.unknown(arg, name)
		case o.takesValue && i+2 < len(arg):
			return append(words, "--"+o.name+"="+arg[i+2:]), false, nil
		}
		words = append(words, "--"+o.name)
		needsValue = o.takesValue
	}
	return words, needsValue, nil
}

func (known options) unknown(arg, name string) error {
	var names []string
	for n := range known {
		if len(n) > 1 {
			names = append(names, "--"+n)
		}
	}
	slices.Sort(names)
	if habit := suggest.Option(strings.ReplaceAll(name, "_", "-")); habit != "" {
		return &usageError{fmt.Sprintf("unknown option %s: %s", arg, habit)}
	}
	return &usageError{fmt.Sprintf("unknown option %s%s", arg, suggest.Or("--"+name, names, ""))}
}
