package vault

import (
	"bytes"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// ansibleVault runs the real tool in the place's home, away from the user's
// own configuration.
func (p *place) ansibleVault(stdin string, args ...string) string {
	p.t.Helper()
	tool, err := exec.LookPath("ansible-vault")
	if err != nil {
		if os.Getenv("CI") == "true" {
			p.t.Fatal("ansible-vault is not installed: apt-get install ansible-core")
		}
		p.t.Skip("ansible-vault is not installed: apt-get install ansible-core")
	}
	cmd := exec.CommandContext(p.t.Context(), tool, args...)
	cmd.Dir = p.home
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + p.home, "LC_ALL=C.UTF-8", "ANSIBLE_LOCALHOST_WARNING=False"}
	cmd.Stdin = strings.NewReader(stdin)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		p.t.Fatalf("ansible-vault %s: %v\n%s", strings.Join(args, " "), err, stderr.String())
	}
	return string(out)
}

const interoperable = "db_password: \"{{ pä:ss }}\"\nport: 5432\n"

func TestAnsibleReadsOurs(t *testing.T) {
	for name, c := range map[string]struct {
		label    string
		file     string
		content  string // our password is "p w" throughout
		mode     os.FileMode
		vaultIDs []string
	}{
		"1.1, plain file": {"", "pass", " p w \n", 0o600, []string{"pass"}},
		"1.2, script":     {"prod", "pass", "#!/bin/sh\necho 'p w'\n", 0o700, []string{"prod@pass"}},
		"1.2, client":     {"prod", "get-client.sh", "#!/bin/sh\ntest \"$1$2\" = --vault-idprod && echo 'p w'\n", 0o700, []string{"prod@./get-client.sh"}},
		"another label":   {"prod", "pass", "p w", 0o600, []string{"dev@pass"}},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPlace(t)
			p.file(c.file, c.content, c.mode)
			p.file("vars.yml", string(seal(t, interoperable, "p w", c.label)), 0o600)
			args := []string{"view"}
			for _, id := range c.vaultIDs {
				args = append(args, "--vault-id", id)
			}
			if got := p.ansibleVault("", append(args, "vars.yml")...); strings.TrimSpace(got) != strings.TrimSpace(interoperable) {
				t.Errorf("ansible-vault view printed %q", got)
			}
			// And our own identities agree about the password.
			t.Chdir(p.home)
			password, _, err := p.identities(Options{VaultIDs: c.vaultIDs}).Password(t.Context(), "")
			if password.Reveal() != "p w" || err != nil {
				t.Errorf("our password is %q, %v", password.Reveal(), err)
			}
		})
	}
}

func TestWeReadAnsibles(t *testing.T) {
	for name, label := range map[string]string{"1.1": "", "1.2": "prod"} {
		t.Run(name, func(t *testing.T) {
			p := newPlace(t)
			id := p.file("pass", "p w\n", 0o600)
			encryptAs := []string{}
			if label != "" {
				id = label + "@" + id
				encryptAs = []string{"--encrypt-vault-id", label}
			}
			ids := p.identities(Options{VaultIDs: []string{id}})

			sealed := p.ansibleVault(interoperable, append([]string{"encrypt", "--vault-id", id, "--output", "-"}, encryptAs...)...)
			plain, err := Decrypt(t.Context(), []byte(sealed), ids)
			if string(plain) != interoperable || err != nil {
				t.Errorf("decrypted to %q, %v", plain, err)
			}
			want := DefaultLabel
			if label != "" {
				want = label
			}
			if got, err := Label([]byte(sealed)); got != want || err != nil {
				t.Errorf("label %q, %v", got, err)
			}

			// encrypt_string reads and prints what belongs in a YAML file.
			value := p.ansibleVault("s3cr3t\n", append([]string{"encrypt_string", "--vault-id", id, "--stdin-name", "token"}, encryptAs...)...)
			vars, err := Load(t.Context(), "vars.yml", []byte("a: 1\n"+value), ids)
			if err != nil {
				t.Fatal(err)
			}
			if got, _ := vars.(Map).Get("token"); got != Secret("s3cr3t\n") {
				t.Errorf("token is %q", got.(Secret).Reveal())
			}

			// rekeyed by Ansible, readable with the new password.
			p.file("vars.yml", sealed, 0o600)
			p.ansibleVault("", "rekey", "--vault-id", id, "--new-vault-password-file", p.file("new", "new\n", 0o600), "vars.yml")
			rekeyed, err := os.ReadFile(p.home + "/vars.yml")
			if err != nil {
				t.Fatal(err)
			}
			if plain, err := Decrypt(t.Context(), rekeyed, asking(t, "new")); string(plain) != interoperable || err != nil {
				t.Errorf("rekeyed: %q, %v", plain, err)
			}
		})
	}
}

func TestAnsibleOpensTheKnownVault(t *testing.T) {
	p := newPlace(t)
	p.file("pass", "hunter2", 0o600)
	if got := p.ansibleVault(emptyVault, "decrypt", "--vault-id", "pass", "--output", "-"); got != "" {
		t.Errorf("the known vault holds %q", got)
	}
}
