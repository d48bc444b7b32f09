package load

import (
	"errors"
	"fmt"
	"io"
	"io/fs"

	"go.starlark.net/starlark"

	"github.com/pgrun/pgrun/runtime/builtin"
	"github.com/pgrun/pgrun/runtime/secret"
	"github.com/pgrun/pgrun/runtime/vault"
)

type vaultParams struct {
	Path builtin.Source `star:"path,required" doc:"A YAML file, encrypted by ansible-vault as a whole, in some values (!vault), or not at all."`
}

type secretParams struct {
	Text builtin.Text `star:"text,required" doc:"The secret."`
}

// secretModules are the builtins that make secrets, in playbooks and inventories alike.
func (l *loader) secretModules() []builtin.Module {
	return []builtin.Module{
		{
			Name: "vault",
			Doc:  "Files encrypted by ansible-vault.",
			Builtins: []builtin.Builtin{&builtin.Control[vaultParams]{
				Name: "read", AtLoad: true, Positional: 1,
				Doc:  "Reads a YAML file as a dict. Every string in it is a secret, encrypted or not. The password comes from --vault-id, --vault-password-file, --ask-vault-pass, ANSIBLE_VAULT_PASSWORD_FILE, ANSIBLE_VAULT_IDENTITY_LIST or ~/.ansible/vault_pass, and is asked for only where something is encrypted.",
				Call: l.vaultRead,
			}},
		},
		{
			Builtins: []builtin.Builtin{&builtin.Control[secretParams]{
				Name: "secret", AtLoad: true, Positional: 1,
				Doc: "Makes a secret of a text. It prints as " + secret.Printed + ", is hidden by value in all output, and can be joined with +.",
				Call: func(_ *builtin.Call, p secretParams) (starlark.Value, error) {
					return secret.New(l.Mask, p.Text.Reveal()), nil
				},
			}},
		},
	}
}

func (l *loader) vaultRead(c *builtin.Call, p vaultParams) (starlark.Value, error) {
	data, err := readBounded(p.Path.FS.Open(p.Path.Name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: %w", c.Name, p.Path.Absent("file"))
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.Name, err)
	}
	ctx := l.ctx
	if c.Scope != nil { // not while loading: a clean-up goes on after the run was interrupted
		ctx = c.Scope.Context
	}
	content, err := vault.Load(ctx, p.Path.Path, data, l.Vault)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.Name, err)
	}
	if _, ok := content.(vault.Map); !ok {
		return nil, fmt.Errorf("%s: %s holds no mapping of names to values", c.Name, p.Path.Path)
	}
	value := l.fromYAML(content, true)
	value.Freeze()
	return value, nil
}

// maxValues bounds a file of values: one that is encrypted is more than four times its text.
const maxValues = 32 << 20

// readBounded reads a file that was opened, and no more of it than a file of values may have.
func readBounded(f fs.File, err error) ([]byte, error) {
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxValues+1))
	if err == nil && len(data) > maxValues {
		what := "the file"
		if info, err := f.Stat(); err == nil {
			what = info.Name()
		}
		err = fmt.Errorf("%s is larger than %d MiB: is it a file of values?", what, maxValues>>20)
	}
	return data, err
}

// fewestDigits is the length from which a number is hidden by value.
const fewestDigits = 6

// number makes a Starlark value of a number. It is none that prints as <secret>, for scripts compute with it; but a long
// one is hidden in output.
func (l *loader) number(v starlark.Value, secrets bool) starlark.Value {
	if text := v.String(); secrets && len(text) >= fewestDigits {
		l.Mask.Learn(text)
	}
	return v
}

// fromYAML makes Starlark values of what the vault read.
func (l *loader) fromYAML(v any, secrets bool) starlark.Value {
	switch v := v.(type) {
	case vault.Secret:
		if secrets {
			return secret.New(l.Mask, v.Reveal())
		}
		return starlark.String(v.Reveal())
	case string:
		return starlark.String(v)
	case int64:
		return l.number(starlark.MakeInt64(v), secrets)
	case float64:
		return l.number(starlark.Float(v), secrets)
	case bool:
		return starlark.Bool(v)
	case []any:
		items := make([]starlark.Value, len(v))
		for i, item := range v {
			items[i] = l.fromYAML(item, secrets)
		}
		return starlark.NewList(items)
	case vault.Map:
		dict := starlark.NewDict(len(v))
		for _, entry := range v {
			_ = dict.SetKey(l.fromYAML(entry.Key, false), l.fromYAML(entry.Value, secrets)) // keys are names
		}
		return dict
	}
	return starlark.None
}
