package apt

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"path"
	"regexp"
	"strings"
	"time"

	"github.com/pgrun/pgrun/builtins/file"
	"github.com/pgrun/pgrun/runtime/builtin"
	"github.com/pgrun/pgrun/runtime/host"
)

type repositoryParams struct {
	Name          string          `star:"name,required" doc:"A name for it on the machine: /etc/apt/sources.list.d/NAME.sources."`
	URIs          builtin.Strings `star:"uris" doc:"Where it is: \"https://apt.postgresql.org/pub/repos/apt\"."`
	Suites        builtin.Strings `star:"suites" doc:"Its suites: \"trixie-pgdg\"; \"./\" for a repository without any."`
	Components    builtin.Strings `star:"components" doc:"Its components: \"main\"."`
	Types         string          `star:"types" doc:"\"deb\", \"deb-src\" or both: \"deb deb-src\"."`
	Architectures builtin.Strings `star:"architectures" doc:"Architectures to take from it. Left out: the machine's."`

	Key             builtin.Text                     `star:"key" doc:"The public key that signs it, armored."`
	KeyFile         builtin.Optional[builtin.Source] `star:"key_file" doc:"That key as a file of the project."`
	KeyURL          string                           `star:"key_url" doc:"Where the machine fetches that key, by http or https, as APT fetches packages. Only with key_fingerprints or key_sha256."`
	SignedBy        string                           `star:"signed_by" doc:"A keyring that is on the machine already: \"/usr/share/keyrings/debian-archive-keyring.gpg\"."`
	KeyFingerprints builtin.Strings                  `star:"key_fingerprints" doc:"The fingerprints that the key must have, 40 hexadecimal digits each."`
	KeySHA256       string                           `star:"key_sha256" doc:"The SHA-256 that the key's file must have."`

	State       string        `star:"state" choices:"present absent" doc:"present, or absent: then name alone is needed."`
	Update      bool          `star:"update" doc:"Whether the package lists are refreshed when the repository is new or has changed."`
	Timeout     time.Duration `star:"timeout" doc:"The longest that fetching the key and the lists may take."`
	LockTimeout time.Duration `star:"lock_timeout" doc:"How long to wait for another package manager to finish."`
}

func checkRepository(ctx context.Context, r host.Reader, p repositoryParams) (*builtin.Change, error) {
	if !regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]*$`).MatchString(p.Name) { // see sources.list(5)
		return nil, fmt.Errorf("name: %q: only letters, digits, _, - and . are allowed, since it becomes a file's name", p.Name)
	}
	if p.State == absent {
		return p.planAbsent(ctx, r)
	}
	return p.planPresent(ctx, r)
}

func (p repositoryParams) sourcesPath() string { return path.Join(sourcesDir, p.Name+".sources") }

func (p repositoryParams) keyPath(extension string) string {
	return path.Join(keyringsDir, p.Name+extension)
}

// planAbsent removes the repository and its key. The lists that were fetched of it go with the next
// refresh; APT does not use them any more.
func (p repositoryParams) planAbsent(ctx context.Context, r host.Reader) (*builtin.Change, error) {
	var all []*builtin.Change
	for _, p := range []string{p.sourcesPath(), p.keyPath(".asc"), p.keyPath(".gpg")} {
		c, err := file.PlanAbsent(ctx, r, p, false)
		if err != nil {
			return nil, err
		}
		all = append(all, c)
	}
	return builtin.Join(all...), nil
}

// planPresent plans the key, then the file that refers to it, then the refresh.
func (p repositoryParams) planPresent(ctx context.Context, r host.Reader) (*builtin.Change, error) {
	if err := p.check(); err != nil {
		return nil, err
	}
	pins, err := parsePins(p.KeyFingerprints, p.KeySHA256)
	if err != nil {
		return nil, err
	}
	k, err := p.planKey(ctx, r, pins)
	if err != nil {
		return nil, err
	}
	sources, err := p.planSources(ctx, r, k.path)
	if err != nil {
		return nil, err
	}
	change := builtin.Join(k.change, sources)
	if k.fetch {
		change = p.planFetch(pins, sources)
	}
	if !p.Update {
		return change, nil
	}
	l, err := lookAtLists(ctx, r)
	if err != nil {
		return nil, err
	}
	// The lists are older than the repository: a run was cut off before it had refreshed them.
	if l.changed = l.changed || change.Needed(); !l.changed && !l.empty {
		return change, nil
	}
	return builtin.Join(change, planRefresh(l, p.Timeout, p.LockTimeout)), nil
}

func (p repositoryParams) check() error {
	for _, list := range []struct {
		name   string
		values builtin.Strings
	}{{"uris", p.URIs}, {"suites", p.Suites}, {"components", p.Components}, {"architectures", p.Architectures}} {
		for _, v := range list.values {
			if v == "" || strings.ContainsAny(v, " \t\r\n") {
				return fmt.Errorf("%s: %q is empty, or has a space in it: write a list of strings", list.name, v)
			}
		}
	}
	if len(p.URIs) == 0 {
		return fmt.Errorf("uris: missing")
	}
	for _, u := range p.URIs {
		if parsed, err := url.Parse(u); err != nil || parsed.Scheme == "" || !strings.HasPrefix(parsed.Path, "/") && parsed.Host == "" {
			return fmt.Errorf("uris: %q is not a URI: begin it with https:// or http://", u)
		} else if parsed.User != nil {
			return fmt.Errorf("uris: a user's name and password would be there for all to read: write them to a file in /etc/apt/auth.conf.d with file.content")
		}
	}
	if len(p.Suites) == 0 {
		return fmt.Errorf("suites: missing")
	}
	for _, s := range p.Suites {
		flat := strings.HasSuffix(s, "/")
		if flat && len(p.Components) > 0 {
			return fmt.Errorf("components: the suite %q is a path, which has no components", s)
		}
		if !flat && len(p.Components) == 0 {
			return fmt.Errorf("components: missing")
		}
	}
	switch p.Types {
	case "deb", "deb-src", "deb deb-src":
	default:
		return fmt.Errorf("types: got %q, want \"deb\", \"deb-src\" or \"deb deb-src\"", p.Types)
	}
	given := 0
	for _, is := range []bool{p.Key.Reveal() != "", p.KeyFile.Set, p.KeyURL != "", p.SignedBy != ""} {
		if is {
			given++
		}
	}
	switch pinned := len(p.KeyFingerprints) > 0 || p.KeySHA256 != ""; {
	case given != 1:
		return fmt.Errorf("key: give the key by one of key, key_file, key_url and signed_by")
	case p.KeyURL != "" && !regexp.MustCompile(`^https?://[^\s@]+$`).MatchString(p.KeyURL):
		return fmt.Errorf("key_url: it is not an http or https URL, without a user's name")
	case p.KeyURL != "" && !pinned:
		return fmt.Errorf("key_url: say which key it is with key_fingerprints or key_sha256: whoever can change what the URL gives could sign packages")
	case p.SignedBy != "" && pinned:
		return fmt.Errorf("signed_by: key_fingerprints and key_sha256 are for keys that are put on the machine")
	case p.SignedBy != "" && (!path.IsAbs(p.SignedBy) || strings.ContainsAny(p.SignedBy, " \t\n,")):
		return fmt.Errorf("signed_by: %q is not an absolute path", p.SignedBy)
	}
	return nil
}

// deb822 is the repository as sources.list(5) describes it.
func (p repositoryParams) deb822(key string) string {
	var b strings.Builder
	field := func(name string, values ...string) {
		if len(values) > 0 {
			fmt.Fprintf(&b, "%s: %s\n", name, strings.Join(values, " "))
		}
	}
	field("Types", p.Types)
	field("URIs", p.URIs...)
	field("Suites", p.Suites...)
	field("Components", p.Components...)
	field("Architectures", p.Architectures...)
	field("Signed-By", key)
	return b.String()
}

func (p repositoryParams) planSources(ctx context.Context, r host.Reader, key string) (*builtin.Change, error) {
	return file.PlanContentAndParents(ctx, r, file.Spec{
		Path: p.sourcesPath(), Content: builtin.Plain(p.deb822(key)), Attributes: publicFile(),
	})
}

// publicFile is how APT's unprivileged downloader must find a file.
func publicFile() host.Attributes {
	mode := fs.FileMode(0o644)
	return host.Attributes{Owner: "root", Group: "root", Mode: &mode}
}

// keyPlan is where the key is, and what it takes to have it there.
type keyPlan struct {
	path   string
	change *builtin.Change

	// fetch says that the key has to be fetched first, and that path is a guess until then.
	fetch bool
}

func (p repositoryParams) planKey(ctx context.Context, r host.Reader, pins pins) (keyPlan, error) {
	switch {
	case p.SignedBy != "":
		if _, err := r.Stat(ctx, p.SignedBy); errors.Is(err, fs.ErrNotExist) {
			return keyPlan{}, host.NotThere("signed_by: no file %s on the machine: install the package that brings it, or give the key", p.SignedBy)
		} else if err != nil {
			return keyPlan{}, err
		}
		return keyPlan{path: p.SignedBy}, nil
	case p.KeyURL != "":
		return p.planKeyFromURL(ctx, r, pins)
	}
	parameter, content := "key", p.Key.Reveal()
	if p.KeyFile.Set {
		parameter = "key_file"
		b, err := fs.ReadFile(p.KeyFile.Value.FS, p.KeyFile.Value.Name)
		if err != nil {
			return keyPlan{}, fmt.Errorf("key_file: %s: %w", p.KeyFile.Value.Path, err)
		}
		content = string(b)
	}
	k, err := parseKeys(content)
	if err == nil {
		err = pins.check(k)
	}
	if err != nil {
		return keyPlan{}, fmt.Errorf("%s: %w", parameter, err)
	}
	return p.planWriteKey(ctx, r, k, pins)
}

// planWriteKey puts a key in its place, and removes what stood in the other form's.
func (p repositoryParams) planWriteKey(ctx context.Context, r host.Reader, k publicKeys, pins pins) (keyPlan, error) {
	target := p.keyPath(k.extension())
	write, err := file.PlanContentAndParents(ctx, r, file.Spec{Path: target, Content: builtin.Plain(k.trusted(pins)), Attributes: publicFile()})
	if err != nil {
		return keyPlan{}, err
	}
	other := map[string]string{".asc": ".gpg", ".gpg": ".asc"}[k.extension()]
	remove, err := file.PlanAbsent(ctx, r, p.keyPath(other), false)
	if err != nil {
		return keyPlan{}, err
	}
	return keyPlan{path: target, change: builtin.Join(write, remove)}, nil
}

// planKeyFromURL finds the key on the machine, if it has the pins, and else has it fetched. So a run that
// finds it there asks no server.
func (p repositoryParams) planKeyFromURL(ctx context.Context, r host.Reader, pins pins) (keyPlan, error) {
	for _, extension := range []string{".asc", ".gpg"} {
		content, err := r.ReadFile(ctx, p.keyPath(extension))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return keyPlan{}, err
		}
		if k, err := parseKeys(string(content)); err == nil && pins.check(k) == nil && k.extension() == extension {
			return p.planWriteKey(ctx, r, k, pins) // for its owner and mode
		}
	}
	return keyPlan{path: p.keyPath(".asc"), fetch: true}, nil
}

// planFetch fetches the key, and then plans and does the rest. expected is what has to be done about the
// file of sources if the key is what most are, armored.
func (p repositoryParams) planFetch(pins pins, expected *builtin.Change) *builtin.Change {
	change := &builtin.Change{Summary: []string{fmt.Sprintf("fetch the key %s from %s", pins, p.KeyURL)}}
	if expected.Needed() {
		change.Summary = append(change.Summary, expected.Summary...)
		change.Diffs, change.Writes, change.Replaces, change.Removes = expected.Diffs, expected.Writes, expected.Replaces, expected.Removes
	}
	change.Writes = append(change.Writes, file.Dated(p.keyPath(".asc"))...)
	change.Apply = func(ctx context.Context, h host.Host) error {
		k, err := p.fetchKey(ctx, h)
		if err == nil {
			err = pins.check(k)
		}
		if err != nil {
			return fmt.Errorf("key_url: %s: %w", p.KeyURL, err)
		}
		key, err := p.planWriteKey(ctx, h, k, pins)
		if err != nil {
			return err
		}
		sources, err := p.planSources(ctx, h, key.path)
		if err != nil {
			return err
		}
		if rest := builtin.Join(key.change, sources); rest.Needed() {
			return rest.Apply(ctx, h)
		}
		return nil
	}
	return change
}

// fetchKey has APT's own downloader fetch the key: it is on every machine with APT, and knows the proxy
// and the certificates that packages come by.
func (p repositoryParams) fetchKey(ctx context.Context, h host.Host) (publicKeys, error) {
	ctx, cancel := context.WithTimeout(ctx, p.Timeout)
	defer cancel()
	private := fs.FileMode(0o700)
	dir := "/run/pgrun-key-" + rand.Text()
	if err := h.Mkdir(ctx, dir, host.Attributes{Mode: &private}); err != nil {
		return publicKeys{}, err
	}
	defer func() { _ = h.Remove(context.WithoutCancel(ctx), dir, true) }() // under /run: gone with the next boot at the latest
	target := path.Join(dir, "key")
	c := host.Command{Argv: []string{"/usr/lib/apt/apt-helper", "download-file", p.KeyURL, target}, Env: environment()}
	if _, err := host.Succeeded(c)(h.Run(ctx, c)); err != nil {
		return publicKeys{}, err
	}
	content, err := h.ReadFile(ctx, target)
	if err != nil {
		return publicKeys{}, err
	}
	return parseKeys(string(content))
}
