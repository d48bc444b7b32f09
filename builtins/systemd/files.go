package systemd

import (
	"context"
	"errors"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/pgrun/pgrun/builtins/file"
	"github.com/pgrun/pgrun/runtime/builtin"
	"github.com/pgrun/pgrun/runtime/host"
)

// files lists what the administrator has made of a unit: its file and drop-ins in /etc/systemd/system. What is in /run may be written anew at
// each reload.
func (u unit) files(ctx context.Context, r host.Reader) ([]string, error) {
	all := append([]string{u.fragment}, u.dropins...)
	if u.load != "loaded" || u.needReload {
		own, err := u.ownDropins(ctx, r, "")
		if err != nil {
			return nil, err
		}
		all = append(all, own...)
	}
	return slices.DeleteFunc(all, func(file string) bool { return !strings.HasPrefix(file, unitDir+"/") }), nil
}

// ownDropins lists the drop-ins in /etc/systemd/system, whether systemd has read them or not, and with them one that is to be written. Of two
// with one name the later counts.
func (u unit) ownDropins(ctx context.Context, r host.Reader, written string) ([]string, error) {
	var all []string
	for _, name := range slices.Compact([]string{templateOf(u.name), templateOf(u.id), u.name, u.id}) {
		if name == "" {
			continue
		}
		dir := path.Join(unitDir, name+".d")
		found, err := r.ReadDir(ctx, dir)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		for _, f := range found {
			if path.Ext(f.Name) == ".conf" {
				all = append(all, path.Join(dir, f.Name))
			}
		}
		if path.Dir(written) == dir {
			all = append(all, written)
		}
	}
	return all, nil
}

// onDisk is what the unit's files say together, whether systemd has read them so or not; one of them, if any, as it is to be written.
func (u unit) onDisk(ctx context.Context, r host.Reader, written, content string) (unitFile, error) {
	own, err := u.ownDropins(ctx, r, written)
	if err != nil {
		return nil, err
	}
	byName := map[string]string{}
	for _, at := range slices.Concat(u.dropins, own) {
		byName[path.Base(at)] = at
	}
	var all strings.Builder
	add := func(at string) (text string, err error) {
		if text = content; at != written {
			text, err = readUnitFile(ctx, r, at)
		}
		all.WriteString(text + "\n\n[]\n") // what it ends with goes on in no other
		return text, err
	}
	for _, at := range []string{path.Join(unitDir, u.name), path.Join(unitDir, templateOf(u.name)), u.fragment} { // the first hides the others
		text, err := add(at)
		if err != nil {
			return nil, err
		}
		if text != "" {
			break
		}
	}
	for _, name := range slices.Sorted(maps.Keys(byName)) {
		if _, err := add(byName[name]); err != nil {
			return nil, err
		}
	}
	return parseUnitFile(all.String()), nil
}

// readUnitFile reads what may be gone, or be masked by a link to /dev/null: then it says nothing.
func readUnitFile(ctx context.Context, r host.Reader, at string) (string, error) {
	if at == "" || at == unitDir { // no file, nor a template's
		return "", nil
	}
	trail, err := file.Trail(ctx, r, at)
	if err == nil && trail[len(trail)-1].Path != "/dev/null" {
		var content []byte
		content, err = r.ReadFile(ctx, at)
		if err == nil {
			return string(content), nil
		}
	}
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return "", err
}

// unsure reports whether a dry run does not know what unit files there would be by then.
func unsure(ctx context.Context) bool {
	return builtin.WritesUnknown(ctx) || slices.ContainsFunc(builtin.Written(ctx), func(p string) bool { return strings.Contains(p+"/", "/systemd/system/") })
}

// rewritten reports whether a dry run would have written the unit's file by then, or a drop-in of it.
func (u unit) rewritten(ctx context.Context) bool {
	return slices.ContainsFunc(builtin.Written(ctx), func(p string) bool {
		_, rest, ofUnits := strings.Cut(p, "/systemd/system/")
		name, _, _ := strings.Cut(rest, "/")
		name = strings.TrimSuffix(name, ".d")
		return ofUnits && name != "" && slices.Contains([]string{u.name, u.id, templateOf(u.name), templateOf(u.id)}, name)
	})
}
