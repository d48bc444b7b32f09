package main

import (
	"fmt"
	"strings"

	"github.com/pgrun/pgrun/runtime/load"
)

// listParams is what --list-params prints: the playbook's docstring, and each param with its type and the value that it would have.
func listParams(playbook *load.Playbook) string {
	var b strings.Builder
	if playbook.Doc != "" {
		fmt.Fprintf(&b, "%s\n\n", strings.TrimSpace(playbook.Doc))
	}
	if len(playbook.Params) == 0 {
		b.WriteString("It has no params.\n")
	}
	for _, p := range playbook.Params {
		value := ", which has to be set"
		if p.Value != nil {
			value = " = " + p.Value.String()
		}
		fmt.Fprintf(&b, "%s (%s)%s\n", p.Name, p.Type, value)
		if p.Doc != "" {
			fmt.Fprintf(&b, "    %s\n", p.Doc)
		}
		if p.Choices != nil {
			fmt.Fprintf(&b, "    One of %s.\n", strings.Join(p.Choices, ", "))
		}
	}
	return b.String()
}

func listTasks(plays []*load.Play) string {
	var b strings.Builder
	for _, play := range plays {
		fmt.Fprintf(&b, "%s%s\n", play.Name, tagList(play.Tags))
		var names []string
		for _, h := range play.Hosts {
			names = append(names, h.Name)
		}
		fmt.Fprintf(&b, "  hosts: %s\n", strings.Join(names, ", "))
		for _, task := range play.Tasks {
			fmt.Fprintf(&b, "  - %s%s\n", task.Title, tagList(task.Tags[len(play.Tags):]))
		}
	}
	return b.String()
}

func tagList(tags []string) string {
	if len(tags) == 0 {
		return ""
	}
	return "  [" + strings.Join(tags, ", ") + "]"
}
