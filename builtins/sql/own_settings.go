package sql

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/pgrun/pgrun/runtime/builtin"
	"github.com/pgrun/pgrun/runtime/postgres"
)

// settings adds the steps that give a role or database settings of its own. has is its
// pg_db_role_setting.setconfig, a list of name=value with the values as they were given.
func (s *steps) settings(kind, name string, want builtin.StringMap, has []string) {
	current := map[string]string{}
	for _, setting := range has {
		key, value, _ := strings.Cut(setting, "=")
		current[strings.ToLower(key)] = value
	}
	for _, key := range slices.Sorted(maps.Keys(want)) {
		old, set := current[strings.ToLower(key)]
		if set && sameText(key, old, want[key]) {
			continue
		}
		if !set {
			old = "not set"
		}
		s.add(fmt.Sprintf("set %s of %s %s: %s -> %s", key, strings.ToLower(kind), shown(name), old, want[key]),
			fmt.Sprintf("ALTER %s %s SET %s = %s", kind, postgres.QuoteName(name), quoteSetting(key), quoteSettingValue(key, want[key])))
	}
}

func checkSettingNames(settings builtin.StringMap) error {
	for name, value := range settings {
		for _, part := range strings.Split(name, ".") {
			if err := postgres.CheckName(part); err != nil {
				return fmt.Errorf("settings: %q is not the name of a setting", name)
			}
		}
		if strings.ContainsAny(value, "\x00\n") {
			return fmt.Errorf("settings: the value of %s has more than one line", name)
		}
	}
	return nil
}

func quoteSetting(name string) string { return postgres.QuoteName(strings.Split(name, ".")...) }

// quoteSettingValue writes a value for SET. A list of names is given item by item: as one constant it would
// become one name with commas in it.
func quoteSettingValue(name, value string) string {
	if !isNameList(name) {
		return postgres.QuoteText(value)
	}
	items := splitNames(value)
	if len(items) == 0 {
		return "''"
	}
	for i, item := range items {
		items[i] = postgres.QuoteText(item)
	}
	return strings.Join(items, ", ")
}

// sameText compares values as they are written, and lists of names by their items.
func sameText(name, a, b string) bool {
	return a == b || isNameList(name) && slices.Equal(splitNames(a), splitNames(b))
}

// isNameList reports whether a setting is a list of names that are quoted one by one (GUC_LIST_QUOTE).
// The list is pg_dump's own, variable_is_guc_list_quote: the server does not tell.
func isNameList(name string) bool {
	return slices.Contains([]string{
		"local_preload_libraries", "search_path", "session_preload_libraries", "shared_preload_libraries",
		"temp_tablespaces", "unix_socket_directories",
	}, strings.ToLower(name))
}

// splitNames splits a list of names at its commas: a, "B,c" is a and B,c.
func splitNames(list string) []string {
	var (
		names  []string
		name   strings.Builder
		quoted bool // inside of quotes
		was    bool // the name has quotes
	)
	finish := func() {
		text := name.String()
		if !was {
			text = strings.TrimSpace(text)
		}
		if text != "" {
			names = append(names, text)
		}
		name.Reset()
		was = false
	}
	runes := []rune(list)
	for i := 0; i < len(runes); i++ {
		switch r := runes[i]; {
		case r == '"' && quoted && i+1 < len(runes) && runes[i+1] == '"':
			name.WriteRune('"')
			i++
		case r == '"':
			quoted, was = !quoted, true
			if quoted {
				name.Reset() // spaces before it
			}
		case r == ',' && !quoted:
			finish()
		case !quoted && was: // spaces after it
		default:
			name.WriteRune(r)
		}
	}
	finish()
	return names
}
