package vault

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Options say where passwords may come from: the command line as it was given,
// and what of the process's surroundings this package may use.
type Options struct {
	VaultIDs      []string // --vault-id [LABEL@]prompt|PATH, in order
	PasswordFiles []string // --vault-password-file PATH, in order
	Ask           bool     // -J, --ask-vault-pass

	// Getenv is os.Getenv; nil is an empty environment. It is asked for
	// ANSIBLE_VAULT_IDENTITY_LIST, ANSIBLE_VAULT_PASSWORD_FILE and HOME.
	Getenv func(string) string
	// Prompt asks the user for a password without echo; nil is no terminal.
	Prompt func(ctx context.Context, question string) ([]byte, error)
	// Stdin and Stderr are given to password scripts, so that one may ask and
	// complain; nil is the null device.
	Stdin  io.Reader
	Stderr io.Writer

	// Learn is told each password that is obtained, so that it can be hidden in output; nil does nothing.
	Learn func(password string)
}

// Identities are the passwords of a run, in the order they are tried. Each is
// obtained when it is first needed, once, whether that succeeds or fails. They
// are safe for concurrent use; nil is no password at all.
type Identities struct {
	list       []*identity
	keys       keyCache
	scriptTime time.Duration
	learn      func(password string)

	// busy is held while a password is obtained: two prompts at once would
	// share one terminal. A channel, so that waiting ends with the context.
	busy chan struct{}
}

// identity is one password and the label it goes by.
type identity struct {
	label  string
	source source

	// Guarded by Identities.busy.
	obtained bool
	password Secret
	err      error
}

// scriptTime is how long a password script may take: it may ask somebody, for a PIN or to touch a key.
const scriptTime = 5 * time.Minute

// NewIdentities puts passwords in Ansible's order: the environment's identity
// list, --vault-id, --vault-password-file, the environment's password file, -J.
// Where there is none of these, ~/.ansible/vault_pass if it exists. It reads no
// password; an error is about a malformed option.
func NewIdentities(o Options) (*Identities, error) {
	if o.Getenv == nil {
		o.Getenv = func(string) string { return "" }
	}
	b := builder{options: o, home: o.Getenv("HOME")}
	for id := range strings.SplitSeq(o.Getenv("ANSIBLE_VAULT_IDENTITY_LIST"), ",") {
		if id = strings.TrimSpace(id); id != "" {
			b.vaultID("ANSIBLE_VAULT_IDENTITY_LIST", id)
		}
	}
	for _, id := range o.VaultIDs {
		b.vaultID("--vault-id", id)
	}
	for _, path := range o.PasswordFiles {
		b.file("--vault-password-file", path)
	}
	if path := o.Getenv("ANSIBLE_VAULT_PASSWORD_FILE"); path != "" {
		b.file("ANSIBLE_VAULT_PASSWORD_FILE", path)
	}
	if o.Ask {
		b.add(DefaultLabel, prompt{ask: o.Prompt, question: "Vault password: "})
	}
	if len(b.list) == 0 && b.home != "" {
		path := filepath.Join(b.home, ".ansible", "vault_pass")
		if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
			b.file("the default, as no option names another", path)
		}
	}
	if b.err != nil {
		return nil, b.err
	}
	return &Identities{list: b.list, scriptTime: scriptTime, learn: o.Learn, busy: make(chan struct{}, 1)}, nil
}

// builder keeps the first error, so that the order above reads as a list.
type builder struct {
	options Options
	home    string
	list    []*identity
	err     error
}

// vaultID adds [LABEL@]prompt|PATH. The first @ ends the label, as in Ansible;
// a path with one in it needs a label, or only an @, before it.
func (b *builder) vaultID(option, value string) {
	label, from, labelled := strings.Cut(value, "@")
	if !labelled {
		label, from = "", value
	}
	if from == "prompt" {
		label = cmp.Or(label, DefaultLabel)
		b.add(label, prompt{ask: b.options.Prompt, question: fmt.Sprintf("Vault password (%s): ", label)})
		return
	}
	if from == "" {
		b.fail(fmt.Errorf("%s %s: nothing after the label: write LABEL@PATH, or LABEL@prompt to be asked", option, value))
		return
	}
	// Where no label was given, Ansible gives client scripts none either.
	b.add(cmp.Or(label, DefaultLabel), b.fileSource(option, from, label))
}

func (b *builder) file(option, path string) {
	if path == "" {
		b.fail(fmt.Errorf("%s: the path is empty: name a file that holds the password", option))
		return
	}
	b.add(DefaultLabel, b.fileSource(option, path, DefaultLabel))
}

func (b *builder) fileSource(option, path, clientLabel string) file {
	// The shell expands neither a path after LABEL@ nor one in a variable.
	if rest, ok := strings.CutPrefix(path, "~/"); ok && b.home != "" {
		path = filepath.Join(b.home, rest)
	}
	return file{option: option, path: path, clientLabel: clientLabel, stdin: b.options.Stdin, stderr: b.options.Stderr}
}

func (b *builder) add(label string, s source) {
	b.list = append(b.list, &identity{label: label, source: s})
}

func (b *builder) fail(err error) { b.err = cmp.Or(b.err, err) }

// Password returns the password to encrypt with, and its label: the first that
// goes by the given label, or the first of all where label is empty.
func (ids *Identities) Password(ctx context.Context, label string) (Secret, string, error) {
	if ids == nil || len(ids.list) == 0 {
		return "", "", fmt.Errorf("%w: %s", ErrNoPassword, howToGive)
	}
	for _, id := range ids.list {
		if label == "" || id.label == label {
			password, err := ids.obtain(ctx, id)
			return password, id.label, err
		}
	}
	return "", "", fmt.Errorf("%w for the label %q: use --vault-id %s@PATH or %s@prompt", ErrNoPassword, label, label, label)
}

const howToGive = "use --vault-id, --vault-password-file or -J, or set ANSIBLE_VAULT_PASSWORD_FILE"
