// Package vault opens and writes files in the ansible-vault format, so that one
// file serves pgrun and Ansible alike, in both directions.
//
// A vault is text: a header line naming the cipher and, optionally, a label,
// then a body in hexadecimal. The label is a nickname that says which password
// to try first; it is not authenticated and proves nothing. The body holds a
// salt, an HMAC and a ciphertext. A password and the salt give the keys
// (PBKDF2); the HMAC is verified before a single byte is decrypted, so what
// does not verify yields an error and no output.
//
// Passwords come from [Identities], built once from the command line and the
// environment. Nobody is asked and no file is read until something encrypted
// has to be opened; each password is then obtained once, and keys are derived
// once for each password and salt.
//
// Three functions read, from the lowest to the highest: [Decrypt] takes a
// vault, [Open] a file that may or may not be one, [Load] a YAML file that is
// encrypted as a whole, in single values, or not at all. [Encrypt] and
// [Reencrypt] write.
//
// Nothing here puts plaintext or a password into an error. Strings read by
// [Load], and passwords, have the type [Secret], which prints as asterisks.
package vault

import (
	"bytes"
	"context"
	"errors"
	"fmt"
)

// ErrUnreadable matches, through [errors.Is], every failure to open a vault:
// no password, the wrong one, one that could not be obtained, a damaged or
// truncated file. Errors about the YAML inside match [ErrYAML] instead.
var ErrUnreadable = errors.New("cannot open the vault")

// The reasons for [ErrUnreadable] that a caller may want to tell apart.
var (
	// ErrMismatch means the HMAC did not verify. The format cannot say whether
	// the password or the content is at fault.
	ErrMismatch = errors.New("wrong password, or the file was changed")
	// ErrDamaged means the text is not a complete vault, whatever the password.
	ErrDamaged = errors.New("the file is cut short or damaged")
	// ErrNotEncrypted means the text does not begin like a vault.
	ErrNotEncrypted = errors.New("this is not an ansible-vault file")
	// ErrNoPassword means nothing says where a password is to come from.
	ErrNoPassword = errors.New("no vault password was given")
)

// ErrEncrypted is returned by [Encrypt] for what is encrypted already.
var ErrEncrypted = errors.New("already encrypted")

// Encrypted reports whether data begins like a vault.
func Encrypted(data []byte) bool { return bytes.HasPrefix(data, []byte(magic)) }

// Label returns the label in a vault's header, [DefaultLabel] where it has none.
func Label(data []byte) (string, error) {
	sealed, err := parseEnvelope(data)
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrUnreadable, err)
	}
	return sealed.label, nil
}

// Decrypt returns the content of a vault. It tries the passwords whose label is
// the vault's, then all others. Data that is not a vault is an error.
func Decrypt(ctx context.Context, data []byte, ids *Identities) ([]byte, error) {
	vault, err := unlock(ctx, data, ids)
	return vault.plain, err
}

// Open returns the content of the file at path, given what was read from it.
// What is not encrypted is returned as it is: a team's example or placeholder
// file stands where the vault will be, and Ansible reads both the same way.
func Open(ctx context.Context, path string, data []byte, ids *Identities) ([]byte, error) {
	if cutInHeader(data) {
		return nil, fmt.Errorf("%s: %w: %w: only part of its header is left; restore it from a copy", path, ErrUnreadable, ErrDamaged)
	}
	if !Encrypted(data) {
		return data, nil
	}
	plain, err := Decrypt(ctx, data, ids)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return plain, nil
}

// Encrypt returns plain as a vault. The label may be empty or [DefaultLabel];
// any other is written into the header, as format 1.2.
func Encrypt(plain []byte, password Secret, label string) ([]byte, error) {
	sealed, err := encrypt(plain, password, label)
	if err != nil {
		return nil, fmt.Errorf("encrypt: %w", err)
	}
	return sealed, nil
}

// Reencrypt returns plain as a vault that keeps the label and the password of
// sealed: what an editor writes back.
func Reencrypt(ctx context.Context, sealed, plain []byte, ids *Identities) ([]byte, error) {
	vault, err := unlock(ctx, sealed, ids)
	if err != nil {
		return nil, err
	}
	return Encrypt(plain, vault.password, vault.label)
}

// unlocked is an opened vault, and what it takes to write it back.
type unlocked struct {
	plain    []byte
	label    string
	password Secret
}

func unlock(ctx context.Context, data []byte, ids *Identities) (unlocked, error) {
	sealed, err := parseEnvelope(data)
	if err != nil {
		return unlocked{}, fmt.Errorf("%w: %w", ErrUnreadable, err)
	}
	plain, password, err := ids.try(ctx, sealed)
	if err != nil {
		return unlocked{}, fmt.Errorf("%w: %w", ErrUnreadable, err)
	}
	return unlocked{plain, sealed.label, password}, nil
}
