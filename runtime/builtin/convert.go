package builtin

import (
	"fmt"
	"io/fs"
	"iter"
	"strconv"
	"strings"
	"time"

	starlarktime "go.starlark.net/lib/time"
	"go.starlark.net/starlark"

	"github.com/pgrun/pgrun/runtime/inventory"
	"github.com/pgrun/pgrun/runtime/secret"
)

// How values of a script become parameters, a kind after the other.

// notPrinted refuses a text into which a secret was printed: what would be written is <secret>.
func notPrinted(s string) error {
	if strings.Contains(s, secret.Printed) {
		return fmt.Errorf("the text contains a printed secret (%s): join secrets and strings with +, or use template()", secret.Printed)
	}
	return nil
}

func asText(v starlark.Value) (Text, bool) {
	switch v := v.(type) {
	case starlark.String:
		return Text{value: string(v)}, true
	case starlark.Bytes:
		return Text{value: string(v)}, true
	case secret.Value:
		return Text{value: v.Reveal(), shown: v.Shown(), secret: true}, true
	}
	return Text{}, false
}

// AsDuration reads a duration: "90s", "2m", "1h30m", or a value of the time module.
func AsDuration(v starlark.Value) (time.Duration, error) {
	switch v := v.(type) {
	case starlarktime.Duration:
		if v < 0 {
			return 0, fmt.Errorf("%s is negative", v)
		}
		return time.Duration(v), nil
	case starlark.String:
		d, err := time.ParseDuration(string(v))
		if err != nil {
			return 0, fmt.Errorf("%q is not a duration: write 500ms, 90s, 2m or 1h30m", string(v))
		}
		if d < 0 {
			return 0, fmt.Errorf("%q is negative", string(v))
		}
		return d, nil
	}
	return 0, fmt.Errorf("got %s, want a duration: \"90s\", \"2m\"", v.Type())
}

func asMode(v starlark.Value) (Mode, error) {
	var bits uint64
	switch v := v.(type) {
	case starlark.Int:
		return 0, fmt.Errorf("got int, want a file mode: write it as a string: \"0644\"")
	case starlark.String:
		n, err := strconv.ParseUint(string(v), 8, 32)
		if err != nil {
			return 0, fmt.Errorf("%q is not a file mode: write it in octal, \"0644\"", string(v))
		}
		bits = n
	default:
		return 0, fmt.Errorf("got %s, want a file mode: \"0644\"", v.Type())
	}
	if bits > 0o7777 {
		return 0, fmt.Errorf("%#o is not a file mode: write it in octal, \"0644\"", bits)
	}
	return ModeOf(uint32(bits)), nil
}

// ModeOf makes a Mode of the bits that chmod(2) takes.
func ModeOf(bits uint32) Mode {
	m := fs.FileMode(bits & 0o777)
	for bit, flag := range map[uint32]fs.FileMode{0o4000: fs.ModeSetuid, 0o2000: fs.ModeSetgid, 0o1000: fs.ModeSticky} {
		if bits&bit != 0 {
			m |= flag
		}
	}
	return Mode(m)
}

// String is the mode as chmod takes it: 0644.
func (m Mode) String() string {
	bits := uint32(fs.FileMode(m).Perm())
	for bit, flag := range map[uint32]fs.FileMode{0o4000: fs.ModeSetuid, 0o2000: fs.ModeSetgid, 0o1000: fs.ModeSticky} {
		if fs.FileMode(m)&flag != 0 {
			bits |= bit
		}
	}
	return fmt.Sprintf("%04o", bits)
}

func asStrings(v starlark.Value) (Strings, error) {
	if s, ok := starlark.AsString(v); ok {
		return Strings{s}, notPrinted(s)
	}
	list, ok := v.(starlark.Iterable)
	if _, isDict := v.(*starlark.Dict); !ok || isDict {
		return nil, fmt.Errorf("got %s, want a list of strings", v.Type())
	}
	var all Strings
	for i, x := range values(list) {
		s, ok := starlark.AsString(x)
		if !ok {
			return nil, fmt.Errorf("item %d is a %s, want string", i, x.Type())
		}
		if err := notPrinted(s); err != nil {
			return nil, fmt.Errorf("item %d: %w", i, err)
		}
		all = append(all, s)
	}
	return all, nil
}

func asArgv(v starlark.Value) (Argv, error) {
	if s, ok := starlark.AsString(v); ok {
		return nil, fmt.Errorf("got a string: write a list, one item an argument; for a shell, [\"sh\", \"-c\", %q]", s)
	}
	list, ok := v.(starlark.Sequence)
	if !ok {
		return nil, fmt.Errorf("got %s, want a list of strings", v.Type())
	}
	if list.Len() == 0 {
		return nil, fmt.Errorf("the list is empty: its first item is the program to run")
	}
	for i, x := range values(list) {
		if _, isSecret := x.(secret.Value); isSecret {
			return nil, fmt.Errorf("item %d is a secret, and every process on the machine can read it there: pass it by stdin, or in a file", i)
		}
	}
	argv, err := asStrings(v)
	if err == nil && argv[0] == "" {
		return nil, fmt.Errorf("the first item, the program to run, is empty")
	}
	return Argv(argv), err
}

func asHosts(v starlark.Value, scope *Scope) (HostList, error) {
	if h, ok := v.(*inventory.Host); ok {
		return HostList{{h, scope}}, nil
	}
	list, ok := v.(starlark.Iterable)
	if _, isDict := v.(*starlark.Dict); !ok || isDict {
		return nil, fmt.Errorf("got %s, want a list of hosts: inventory.hosts(pattern) gives one", v.Type())
	}
	var hosts HostList
	for i, x := range values(list) {
		h, ok := x.(*inventory.Host)
		if !ok {
			return nil, fmt.Errorf("item %d is a %s, want a host", i, x.Type())
		}
		hosts = append(hosts, Host{h, scope})
	}
	return hosts, nil
}

func asInts(v starlark.Value) (Ints, error) {
	list, ok := v.(starlark.Sequence)
	if _, isDict := v.(*starlark.Dict); !ok || isDict {
		return nil, fmt.Errorf("got %s, want a list of integers", v.Type())
	}
	ints := make(Ints, list.Len())
	for i, x := range values(list) {
		if err := starlark.AsInt(x, &ints[i]); err != nil {
			return nil, fmt.Errorf("item %d: %w", i, err)
		}
	}
	return ints, nil
}

// values iterates over a sequence with its indexes.
func values(list starlark.Iterable) iter.Seq2[int, starlark.Value] {
	return func(yield func(int, starlark.Value) bool) {
		it := list.Iterate()
		defer it.Done()
		var x starlark.Value
		for i := 0; it.Next(&x); i++ {
			if !yield(i, x) {
				return
			}
		}
	}
}

func asDict(v starlark.Value) (Dict, error) {
	dict, ok := v.(*starlark.Dict)
	if !ok {
		return nil, fmt.Errorf("got %s, want a dict", v.Type())
	}
	values := Dict{}
	for _, item := range dict.Items() {
		key, ok := starlark.AsString(item[0])
		if !ok {
			return nil, fmt.Errorf("key %s is a %s, want string", item[0], item[0].Type())
		}
		values[key] = item[1]
	}
	return values, nil
}

func asStringMap(v starlark.Value) (StringMap, error) {
	dict, ok := v.(*starlark.Dict)
	if !ok {
		return nil, fmt.Errorf("got %s, want a dict", v.Type())
	}
	m := StringMap{}
	for _, item := range dict.Items() {
		key, ok := starlark.AsString(item[0])
		if !ok {
			return nil, fmt.Errorf("key %s is a %s, want string", item[0], item[0].Type())
		}
		switch x := item[1].(type) {
		case starlark.String:
			m[key] = string(x)
			if err := notPrinted(string(x)); err != nil {
				return nil, fmt.Errorf("%s: %w", key, err)
			}
		case starlark.Bool:
			m[key] = strconv.FormatBool(bool(x))
		case starlark.Int, starlark.Float:
			m[key] = x.String()
		case secret.Value:
			return nil, fmt.Errorf("%s is a secret, and others can read what stands here: pass it by stdin, or in a file", key)
		default:
			return nil, fmt.Errorf("%s is a %s, want a string, number or bool", key, x.Type())
		}
	}
	return m, nil
}

func setDevices(dst *Devices, v starlark.Value) error {
	dict, ok := v.(*starlark.Dict)
	if !ok {
		return fmt.Errorf("got %s, want a dict of dicts", v.Type())
	}
	all := Devices{}
	for _, item := range dict.Items() {
		name, ok := starlark.AsString(item[0])
		if !ok {
			return fmt.Errorf("key %s is a %s, want string", item[0], item[0].Type())
		}
		m, err := asStringMap(item[1])
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		all[name] = m
	}
	*dst = all
	return nil
}
