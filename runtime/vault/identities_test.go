package vault

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// place is a home directory with password files, an environment, and a prompt
// that records what it asks.
type place struct {
	t     *testing.T
	home  string
	env   map[string]string
	asked []string
}

func newPlace(t *testing.T) *place {
	home := t.TempDir()
	return &place{t: t, home: home, env: map[string]string{"HOME": home}}
}

func (p *place) file(name, content string, mode fs.FileMode) string {
	p.t.Helper()
	path := filepath.Join(p.home, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		p.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), mode); err != nil {
		p.t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		p.t.Fatal(err)
	}
	return path
}

func (p *place) identities(o Options) *Identities {
	p.t.Helper()
	o.Getenv = func(name string) string { return p.env[name] }
	if o.Prompt == nil {
		o.Prompt = func(_ context.Context, question string) ([]byte, error) {
			p.asked = append(p.asked, question)
			return []byte(" typed \n"), nil
		}
	}
	ids, err := NewIdentities(o)
	if err != nil {
		p.t.Fatal(err)
	}
	return ids
}

// order lists the identities as they are tried for a label, without the home.
func (p *place) order(ids *Identities, label string) string {
	var names []string
	for _, id := range ids.inOrder(label) {
		names = append(names, strings.Replace(id.String(), p.home, "~", 1))
	}
	return strings.Join(names, " ")
}

func TestOrder(t *testing.T) {
	all := Options{
		VaultIDs:      []string{"prod@/v1", "prompt", "~/v2", "dev@prompt", "@/at@sign"},
		PasswordFiles: []string{"/f1", "/f2"},
		Ask:           true,
	}
	env := map[string]string{
		"ANSIBLE_VAULT_IDENTITY_LIST": "one@/e1, ,prod@~/e2",
		"ANSIBLE_VAULT_PASSWORD_FILE": "~/e3",
	}
	for name, c := range map[string]struct {
		options Options
		env     map[string]string
		label   string
		want    string
	}{
		"all, unknown label": {all, env, "other", "one@/e1 prod@~/e2 prod@/v1 default@prompt default@~/v2 dev@prompt default@/at@sign default@/f1 default@/f2 default@~/e3 default@prompt"},
		"all, prod":          {all, env, "prod", "prod@~/e2 prod@/v1 one@/e1 default@prompt default@~/v2 dev@prompt default@/at@sign default@/f1 default@/f2 default@~/e3 default@prompt"},
		"all, default":       {all, env, "default", "default@prompt default@~/v2 default@/at@sign default@/f1 default@/f2 default@~/e3 default@prompt one@/e1 prod@~/e2 prod@/v1 dev@prompt"},
		"environment only":   {Options{}, env, "", "one@/e1 prod@~/e2 default@~/e3"},
		"nothing":            {Options{}, nil, "", "default@~/.ansible/vault_pass"},
		"-J only":            {Options{Ask: true}, nil, "", "default@prompt"},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPlace(t)
			p.file(".ansible/vault_pass", "pw", 0o600)
			for k, v := range c.env {
				p.env[k] = v
			}
			if got := p.order(p.identities(c.options), c.label); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
			if p.asked != nil {
				t.Error("asked for a password nobody needs yet")
			}
		})
	}
}

func TestMalformedOptions(t *testing.T) {
	for _, o := range []Options{
		{VaultIDs: []string{"prod@"}},
		{VaultIDs: []string{""}},
		{PasswordFiles: []string{""}},
		{Getenv: func(name string) string {
			return map[string]string{"ANSIBLE_VAULT_IDENTITY_LIST": "a@x,b@"}[name]
		}},
	} {
		if ids, err := NewIdentities(o); ids != nil || err == nil {
			t.Errorf("%+v: %v, %v", o, ids, err)
		}
	}
}

func TestNoPassword(t *testing.T) {
	p := newPlace(t)
	for name, ids := range map[string]*Identities{"nil": nil, "none": p.identities(Options{})} {
		plain, err := Decrypt(t.Context(), []byte(emptyVault), ids)
		if plain != nil || !errors.Is(err, ErrUnreadable) || !errors.Is(err, ErrNoPassword) || !strings.Contains(err.Error(), "--vault-password-file") {
			t.Errorf("%s: %q, %v", name, plain, err)
		}
		if _, _, err := ids.Password(t.Context(), ""); !errors.Is(err, ErrNoPassword) {
			t.Errorf("%s: Password: %v", name, err)
		}
	}
}

// Every way to give a password, by what it yields.
func TestPasswords(t *testing.T) {
	for name, c := range map[string]struct {
		file    string
		mode    fs.FileMode
		content string
		option  string // a --vault-id, with FILE for the path
		want    string
		err     string
	}{
		"plain":                 {content: "\v\f pa ss\t\r\n\n", want: "pa ss"},
		"Unicode space is kept": {content: "\u00a0pw\u0085\n", want: "\u00a0pw\u0085"},
		"world readable":        {mode: 0o644, content: "pw", want: "pw"},
		"empty":                 {content: " \n", err: "is empty"},
		"too large":             {content: strings.Repeat("x", maxPassword+1), err: "64 KiB"},
		"itself encrypted":      {content: emptyVault, err: "itself encrypted"},
		"missing":               {option: "prod@FILE.not", err: "(--vault-id): no such file"},
		"directory":             {option: "prod@FILE/..", err: "not a directory"},
		"prompt":                {option: "prod@prompt", want: "typed"},

		"script keeps spaces":     {mode: 0o700, content: "#!/bin/sh\nprintf '\\r\\n pw \\r\\n'", want: " pw "},
		"script gets no argument": {mode: 0o700, content: "#!/bin/sh\necho \"$#\"", want: "0"},
		"script of the group":     {mode: 0o750, content: "#!/bin/sh\necho pw", want: "pw"},
		"script prints nothing":   {mode: 0o700, content: "#!/bin/sh\necho", err: "is empty"},
		"script fails":            {mode: 0o700, content: "#!/bin/sh\necho pw; echo pw >&2; exit 3", err: "exit status 3"},
		"script exits 2":          {mode: 0o700, content: "#!/bin/sh\nexit 2", err: "failed with exit status 2"},
		"script prints for ever":  {mode: 0o700, content: "#!/bin/sh\nexec cat /dev/zero", err: "64 KiB"},
		"script hangs":            {mode: 0o700, content: "#!/bin/sh\nexec sleep 20", err: "did not finish within"},
		"script leaves a child":   {mode: 0o700, content: "#!/bin/sh\nsleep 5 & sleep 5", err: "did not finish within"},
		"script starts a daemon":  {mode: 0o700, content: "#!/bin/sh\nsleep 5 &\necho pw", want: "pw"},
		"script not runnable":     {mode: 0o700, content: "#!/nonexistent/sh\n", err: "(--vault-id): no such file or directory: its first line"},
		"not a script":            {mode: 0o700, content: "pw\n", err: "(--vault-id): exec format error: if it holds the password itself"},

		"client":                {file: "get-client", mode: 0o700, content: "#!/bin/sh\necho \"$@\"", want: "--vault-id prod"},
		"client with extension": {file: "get-client.sh", mode: 0o700, content: "#!/bin/sh\necho \"$@\"", want: "--vault-id prod"},
		"client without label":  {file: "get-client", mode: 0o700, content: "#!/bin/sh\necho \"n=$#\"", option: "FILE", want: "n=0"},
		"client knows nothing":  {file: "get-client", mode: 0o700, content: "#!/bin/sh\nexit 2", err: `no password for the label "prod"`},
		"client as plain file":  {file: "get-client", content: "pw", want: "pw"},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPlace(t)
			if c.mode == 0 {
				c.mode = 0o600
			}
			if c.file == "" {
				c.file = "password"
			}
			if c.option == "" {
				c.option = "prod@FILE"
			}
			path := p.file(c.file, c.content, c.mode)
			ids := p.identities(Options{VaultIDs: []string{strings.ReplaceAll(c.option, "FILE", path)}})
			ids.scriptTime = 5 * time.Second
			if strings.Contains(c.err, "did not finish") {
				ids.scriptTime = 100 * time.Millisecond
			}
			started := time.Now()
			got, _, err := ids.Password(t.Context(), "")
			if got.Reveal() != c.want || (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
				t.Errorf("%q, %v", got.Reveal(), err)
			}
			if took := time.Since(started); took > 10*time.Second {
				t.Errorf("took %s", took)
			}
		})
	}
}

func TestPasswordOfALabel(t *testing.T) {
	p := newPlace(t)
	ids := p.identities(Options{VaultIDs: []string{"dev@" + p.file("d", "dd", 0o600), "prod@" + p.file("p", "pp", 0o600)}})
	for _, c := range []struct{ label, password, want string }{{"", "dd", "dev"}, {"prod", "pp", "prod"}} {
		password, label, err := ids.Password(t.Context(), c.label)
		if password.Reveal() != c.password || label != c.want || err != nil {
			t.Errorf("%q: %q, %q, %v", c.label, password.Reveal(), label, err)
		}
	}
	if _, _, err := ids.Password(t.Context(), "test"); !errors.Is(err, ErrNoPassword) || !strings.Contains(err.Error(), "test@prompt") {
		t.Errorf("unknown label: %v", err)
	}
}

func TestClientScriptOfPasswordFileIsAskedForDefault(t *testing.T) {
	p := newPlace(t)
	ids := p.identities(Options{PasswordFiles: []string{p.file("x-client", "#!/bin/sh\necho \"$@\"", 0o700)}})
	if got, _, err := ids.Password(t.Context(), ""); got.Reveal() != "--vault-id default" || err != nil {
		t.Errorf("%q, %v", got.Reveal(), err)
	}
}

// A named pipe is what --vault-password-file <(command) gives.
func TestPasswordFromPipe(t *testing.T) {
	p := newPlace(t)
	path := filepath.Join(p.home, "pipe")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	writer := func(text string) *os.File {
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteString(text); err != nil {
			t.Fatal(err)
		}
		return f
	}

	held := writer("half") // and never closed: the read must end with the context
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	ids := p.identities(Options{PasswordFiles: []string{path}})
	if _, _, err := ids.Password(ctx, ""); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("cancelled: %v", err)
	}
	if err := held.Close(); err != nil {
		t.Fatal(err)
	}

	go func() { _ = os.WriteFile(path, []byte("pw\n"), 0) }()
	if got, _, err := ids.Password(t.Context(), ""); got.Reveal() != "pw" || err != nil {
		t.Errorf("after cancelling: %q, %v", got.Reveal(), err)
	}
}

func TestMatchingLabelIsTriedFirstAndAlone(t *testing.T) {
	p := newPlace(t)
	ids := p.identities(Options{VaultIDs: []string{
		"dev@prompt", "prod@" + p.file("prod", "pw", 0o600), "gone@/nonexistent",
	}})
	if _, err := Decrypt(t.Context(), seal(t, "x", "pw", "prod"), ids); err != nil || p.asked != nil {
		t.Errorf("asked %q, %v", p.asked, err)
	}
	// Nothing has this label, so all are tried in order.
	if _, err := Decrypt(t.Context(), seal(t, "x", "pw", "other"), ids); err != nil || !slices.Equal(p.asked, []string{"Vault password (dev): "}) {
		t.Errorf("asked %q, %v", p.asked, err)
	}
}

func TestOneThatFailsDoesNotHideTheNext(t *testing.T) {
	p := newPlace(t)
	good := p.file("good", "pw", 0o600)
	ids := p.identities(Options{PasswordFiles: []string{"/nonexistent", good}})
	if _, err := Decrypt(t.Context(), seal(t, "x", "pw", ""), ids); err != nil {
		t.Error(err)
	}
	_, err := Decrypt(t.Context(), seal(t, "x", "other", ""), ids)
	if !errors.Is(err, ErrMismatch) || !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "/nonexistent (--vault-password-file): no such file") {
		t.Errorf("both reasons are wanted: %v", err)
	}
	if strings.Contains(err.Error(), "\n") {
		t.Errorf("more than one line: %v", err)
	}
}

func TestEachSourceIsUsedOnce(t *testing.T) {
	p := newPlace(t)
	log := filepath.Join(p.home, "log")
	script := p.file("script", fmt.Sprintf("#!/bin/sh\necho run >>%s\necho wrong", log), 0o700)
	broken := p.file("broken", fmt.Sprintf("#!/bin/sh\necho run >>%s\nexit 1", log), 0o700)
	ids := p.identities(Options{VaultIDs: []string{script, broken}, Ask: true})
	var wg sync.WaitGroup
	for i := range 8 {
		sealed := seal(t, "x", "typed", "")
		wg.Go(func() {
			if _, err := Decrypt(t.Context(), sealed, ids); err != nil {
				t.Errorf("%d: %v", i, err)
			}
		})
	}
	wg.Wait()
	runs, err := os.ReadFile(log)
	if string(runs) != "run\nrun\n" || len(p.asked) != 1 || err != nil {
		t.Errorf("scripts ran %q, asked %q, %v", runs, p.asked, err)
	}
}

func TestPromptEndsTheSearch(t *testing.T) {
	p := newPlace(t)
	refusal := errors.New("no thanks")
	asked := 0
	ids := p.identities(Options{
		VaultIDs: []string{"a@prompt", "b@prompt"},
		Prompt: func(context.Context, string) ([]byte, error) {
			asked++
			return nil, refusal
		},
	})
	for range 2 {
		_, err := Decrypt(t.Context(), []byte(emptyVault), ids)
		if !errors.Is(err, refusal) || !errors.Is(err, ErrUnreadable) || asked != 1 {
			t.Errorf("asked %d times, %v", asked, err)
		}
	}

	none, err := NewIdentities(Options{Ask: true})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Decrypt(t.Context(), []byte(emptyVault), none); err == nil || !strings.Contains(err.Error(), "without a terminal") {
		t.Errorf("no prompt: %v", err)
	}
}

func TestCancelledIsNotRemembered(t *testing.T) {
	p := newPlace(t)
	script := p.file("script", "#!/bin/sh\ntest -e "+p.home+"/go || exec sleep 20\necho hunter2", 0o700)
	ids := p.identities(Options{PasswordFiles: []string{script}})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := Decrypt(ctx, []byte(emptyVault), ids); !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, ErrUnreadable) {
		t.Errorf("cancelled: %v", err)
	}
	p.file("go", "", 0o600)
	if _, err := Decrypt(t.Context(), []byte(emptyVault), ids); err != nil {
		t.Errorf("tried again: %v", err)
	}
}

// While one caller is at the prompt, another can still give up.
func TestWaitingForAPromptEndsWithTheContext(t *testing.T) {
	p := newPlace(t)
	prompting, answer := make(chan struct{}), make(chan struct{})
	ids := p.identities(Options{Ask: true, Prompt: func(context.Context, string) ([]byte, error) {
		close(prompting)
		<-answer
		return []byte("hunter2"), nil
	}})
	done := make(chan error)
	go func() {
		_, err := Decrypt(t.Context(), []byte(emptyVault), ids)
		done <- err
	}()
	<-prompting
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Decrypt(ctx, []byte(emptyVault), ids); !errors.Is(err, context.Canceled) {
		t.Errorf("second caller: %v", err)
	}
	close(answer)
	if err := <-done; err != nil {
		t.Errorf("first caller: %v", err)
	}
}

func TestScriptTalksToTheUser(t *testing.T) {
	p := newPlace(t)
	var stderr bytes.Buffer
	script := p.file("script", "#!/bin/sh\nread pw\necho \"got $pw\" >&2\necho \"$pw\"\nexit 4", 0o700)
	ids := p.identities(Options{PasswordFiles: []string{script}, Stdin: strings.NewReader("s3cr3t\n"), Stderr: &stderr})
	_, _, err := ids.Password(t.Context(), "")
	if err == nil || strings.Contains(err.Error(), "s3cr3t") || stderr.String() != "got s3cr3t\n" {
		t.Errorf("stderr %q, %v", stderr.String(), err)
	}
}
