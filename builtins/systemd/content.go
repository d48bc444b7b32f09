package systemd

import (
	"path"
	"strings"
)

// unitFile is what a unit file says: by section and key, in the order of the file. See systemd.syntax(7).
type unitFile map[string]map[string][]string

func parseUnitFile(content string) unitFile {
	f := unitFile{}
	section := ""
	var whole strings.Builder // a line and those that continue it
	for line := range strings.Lines(content) {
		line = strings.TrimRight(line, "\r\n")
		if t := strings.TrimSpace(line); strings.HasPrefix(t, "#") || strings.HasPrefix(t, ";") {
			continue // also between a line and its continuation
		}
		if before, ok := strings.CutSuffix(line, `\`); ok {
			whole.WriteString(before + " ")
			continue
		}
		text := strings.TrimSpace(whole.String() + line)
		whole.Reset()
		if strings.HasPrefix(text, "[") && strings.HasSuffix(text, "]") {
			section = text[1 : len(text)-1]
			continue
		}
		key, value, ok := strings.Cut(text, "=")
		if !ok {
			continue
		}
		if f[section] == nil {
			f[section] = map[string][]string{}
		}
		key, value = strings.TrimSpace(key), strings.TrimSpace(value)
		if value == "" { // an empty value takes back those before it
			delete(f[section], key)
			continue
		}
		f[section][key] = append(f[section][key], value)
	}
	return f
}

// installable reports whether the file says what enabling it means. Also= names others.
func (f unitFile) installable() bool {
	for _, key := range []string{"WantedBy", "RequiredBy", "UpheldBy", "Alias"} {
		if len(f["Install"][key]) > 0 {
			return true
		}
	}
	return false
}

// links lists the symbolic links that a unit's being enabled consists of, as far as they can be told
// without systemd: those whose names hold specifiers (%i) are left out.
func (f unitFile) links(name string) []string {
	var all []string
	add := func(link string) {
		if !strings.Contains(link, "%") {
			all = append(all, link)
		}
	}
	for key, suffix := range map[string]string{"WantedBy": ".wants", "RequiredBy": ".requires", "UpheldBy": ".upholds"} {
		for _, targets := range f["Install"][key] {
			for target := range strings.FieldsSeq(targets) {
				add(path.Join(unitDir, target+suffix, name))
			}
		}
	}
	for _, aliases := range f["Install"]["Alias"] {
		for alias := range strings.FieldsSeq(aliases) {
			add(path.Join(unitDir, alias))
		}
	}
	return all
}

// service is the value of a setting of the service; of one that is given more than once, the last counts.
func (f unitFile) service(key string) string {
	values := f["Service"][key]
	if len(values) == 0 {
		return ""
	}
	return values[len(values)-1]
}

// ends is unit.ended, by the file.
func (f unitFile) ends() bool {
	switch strings.ToLower(f.service("RemainAfterExit")) {
	case "yes", "y", "true", "t", "1", "on":
		return false
	}
	return f.service("Type") == "oneshot"
}

// reloads reports whether the service that the file describes can be reloaded.
func (f unitFile) reloads() bool {
	return f.service("ExecReload") != "" || f.service("Type") == "notify-reload"
}
