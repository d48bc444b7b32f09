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
	all, err := u.allDropins(ctx, r)
	all = append([]string{u.fragment}, all...)
	return slices.DeleteFunc(all, func(file string) bool { return !strings.HasPrefix(file, unitDir+"/") }), err
}

// allDropins lists the drop-ins that systemd has read and those in /etc/systemd/system that it has not read yet, or will when it loads the unit.
// Of two with one name the later counts.
func (u unit) allDropins(ctx context.Context, r host.Reader) ([]string, error) {
	all := slices.Clone(u.dropins)
	if u.load == "loaded" && !u.needReload {
		return all, nil
	}
	for _, name := range []string{templateOf(u.name), u.name} {
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
	}
	return all, nil
}

// onDisk is what the unit's files say together, whether systemd has read them so or not; one of them, if any, with other content than it has.
func (u unit) onDisk(ctx context.Context, r host.Reader, own, content string) (unitFile, error) {
	dropins, err := u.allDropins(ctx, r)
	if err != nil {
		return nil, err
	}
	main, byName := u.fragment, map[string]string{}
	for _, dropin := range dropins {
		byName[path.Base(dropin)] = dropin
	}
	if strings.HasSuffix(path.Dir(own), ".d") {
		byName[path.Base(own)] = own
	} else if own != "" {
		main = own
	}
	var all strings.Builder
	for _, name := range append([]string{""}, slices.Sorted(maps.Keys(byName))...) {
		at := byName[name]
		if name == "" {
			at = main
		}
		text := content
		if at != own {
			if text, err = readUnitFile(ctx, r, at); err != nil {
				return nil, err
			}
		}
		all.WriteString(text + "\n")
	}
	return parseUnitFile(all.String()), nil
}

// readUnitFile reads what may be gone, or be masked by a link to /dev/null: then it says nothing.
func readUnitFile(ctx context.Context, r host.Reader, at string) (string, error) {
	if at == "" {
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
