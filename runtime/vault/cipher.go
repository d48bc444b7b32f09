package vault

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
)

// The format's constants. None is recorded in a vault, so none can change.
const (
	rounds       = 10_000
	saltSize     = 32
	aesKeySize   = 32
	hmacKeySize  = 32
	derivedBytes = aesKeySize + hmacKeySize + aes.BlockSize
)

// keys are what a password and a salt give.
type keys struct {
	aes  []byte
	hmac []byte
	iv   []byte
}

// deriveKeys takes milliseconds, by design of the format; see [keyCache].
func deriveKeys(password Secret, salt []byte) (*keys, error) {
	b, err := pbkdf2.Key(sha256.New, password.Reveal(), salt, rounds, derivedBytes)
	if err != nil {
		return nil, fmt.Errorf("derive its keys: %w", err)
	}
	return &keys{
		aes:  b[:aesKeySize],
		hmac: b[aesKeySize : aesKeySize+hmacKeySize],
		iv:   b[aesKeySize+hmacKeySize:],
	}, nil
}

// open verifies, and only then decrypts.
func (k *keys) open(e envelope) ([]byte, error) {
	if !hmac.Equal(k.sum(e.ciphertext), e.mac) {
		return nil, ErrMismatch
	}
	padded, err := k.stream(e.ciphertext)
	if err != nil {
		return nil, err
	}
	plain, ok := unpad(padded)
	if !ok {
		// Verified, so it is what its writer wrote: the writer is at fault.
		return nil, fmt.Errorf("%w: its padding is wrong although the password fits; whatever wrote it does not follow the format", ErrDamaged)
	}
	return plain, nil
}

func encrypt(plain []byte, password Secret, label string) ([]byte, error) {
	salt := make([]byte, saltSize)
	rand.Read(salt) // never fails, by its documentation
	return encryptWithSalt(plain, password, label, salt)
}

// encryptWithSalt is apart for tests that compare with known vaults. A salt
// must not be used twice: with the same password it gives the same key stream.
func encryptWithSalt(plain []byte, password Secret, label string, salt []byte) ([]byte, error) {
	switch {
	case Encrypted(plain):
		return nil, fmt.Errorf("%w: decrypt it first, or change its password with rekey", ErrEncrypted)
	case len(plain) > maxPlain:
		return nil, fmt.Errorf("it has %d bytes; a vault can hold %d MiB", len(plain), maxPlain>>20)
	case password == "":
		return nil, errors.New("the password is empty: choose one")
	}
	if label == "" {
		label = DefaultLabel
	}
	if err := checkLabel(label); err != nil {
		return nil, err
	}
	k, err := deriveKeys(password, salt)
	if err != nil {
		return nil, err
	}
	ciphertext, err := k.stream(pad(plain))
	if err != nil {
		return nil, err
	}
	return envelope{label: label, salt: salt, mac: k.sum(ciphertext), ciphertext: ciphertext}.format(), nil
}

// stream is AES in counter mode, which is its own inverse.
func (k *keys) stream(in []byte) ([]byte, error) {
	block, err := aes.NewCipher(k.aes)
	if err != nil {
		return nil, fmt.Errorf("set up AES: %w", err)
	}
	out := make([]byte, len(in))
	cipher.NewCTR(block, k.iv).XORKeyStream(out, in)
	return out, nil
}

func (k *keys) sum(ciphertext []byte) []byte {
	mac := hmac.New(sha256.New, k.hmac)
	mac.Write(ciphertext)
	return mac.Sum(nil)
}

// pad appends n bytes of value n, 1 to 16 of them: PKCS#7 (RFC 5652, 6.3).
// Counter mode has no need of it; the format asks for it all the same.
func pad(plain []byte) []byte {
	n := aes.BlockSize - len(plain)%aes.BlockSize
	return append(bytes.Clone(plain), bytes.Repeat([]byte{byte(n)}, n)...)
}

func unpad(padded []byte) ([]byte, bool) {
	if len(padded) == 0 || len(padded)%aes.BlockSize != 0 {
		return nil, false
	}
	n := int(padded[len(padded)-1])
	if n < 1 || n > aes.BlockSize {
		return nil, false
	}
	plain, padding := padded[:len(padded)-n], padded[len(padded)-n:]
	return plain, bytes.Count(padding, padding[:1]) == n
}
