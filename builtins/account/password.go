package account

import (
	"context"
	"crypto/subtle"
	"fmt"
	"regexp"
	"strings"

	"github.com/pgrun/pgrun/runtime/builtin"
	"github.com/pgrun/pgrun/runtime/host"
)

// hashForm is that of crypt(5): $method$parameters$salt$hash.
var hashForm = regexp.MustCompile(`^\$[a-z0-9]+\$[A-Za-z0-9./$=,+-]{10,}$`)

// validatePassword refuses what is no hash: most likely, a clear password.
func (p userParams) validatePassword() error {
	if p.PasswordHash.Set && !hashForm.MatchString(p.PasswordHash.Value.Reveal()) {
		return fmt.Errorf("password_hash is not a hash (crypt(5): $y$... or $6$...): make one of the password with mkpasswd")
	}
	return nil
}

// planPassword compares the password with what is in shadow(5), where the call says anything about it. A
// field that begins with ! or * is locked.
func (p userParams) planPassword(ctx context.Context, r host.Reader) (*builtin.Change, error) {
	if !p.PasswordHash.Set && !p.Locked.Set {
		return nil, nil
	}
	entries, err := getent(ctx, r, "shadow", p.Name)
	if err != nil {
		return nil, err
	}
	if len(entries) == 0 || len(entries[0]) < 2 {
		return nil, fmt.Errorf("password_hash and locked: the user %q has no entry in /etc/shadow: it comes from elsewhere", p.Name)
	}
	has := entries[0][1]
	hash := strings.TrimLeft(has, "!*")
	locked := has != hash
	lock := p.Locked.Value
	switch {
	case p.PasswordHash.Set && !equal(hash, p.PasswordHash.Value.Reveal()):
		return p.change("set the password of user "+p.Name, p.setPassword), nil
	case lock == locked:
		return nil, nil
	case lock:
		return p.change("lock the password of user "+p.Name, run([]string{"usermod", "--lock", p.Name})), nil
	case hash == "":
		return nil, fmt.Errorf("locked = False: the user %q has no password to unlock: give password_hash", p.Name)
	}
	return p.change("unlock the password of user "+p.Name, run([]string{"usermod", "--unlock", p.Name})), nil
}

func (p userParams) change(summary string, apply func(context.Context, host.Host) error) *builtin.Change {
	return &builtin.Change{Summary: []string{summary}, Apply: apply}
}

// setPassword sets the hash, locked where that is asked for. It reaches chpasswd on its standard input
// alone.
func (p userParams) setPassword(ctx context.Context, h host.Host) error {
	hash := p.PasswordHash.Value.Reveal()
	if p.Locked.Value {
		hash = "!" + hash
	}
	return runWith(ctx, h, []string{"chpasswd", "--encrypted"}, p.Name+":"+hash+"\n")
}

func equal(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }
