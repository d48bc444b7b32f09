package postgres

import (
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"
)

const (
	// Iterations is PostgreSQL's default of scram_iterations.
	Iterations = 4096

	saltLength = 16 // as PostgreSQL's own
	scheme     = "SCRAM-SHA-256"

	// maxIterations bounds what Matches computes for a verifier that someone else made.
	maxIterations = 10_000_000
)

// NewSalt returns a random salt for Verifier.
func NewSalt() []byte {
	salt := make([]byte, saltLength)
	rand.Read(salt) // never fails
	return salt
}

// Verifier returns what PostgreSQL keeps of a password in pg_authid.rolpassword, and takes in place of
// one in ALTER ROLE: SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey> (RFC 5802, RFC 7677).
// From it the password cannot be read; it can be guessed if it is weak.
func Verifier(password string, salt []byte, iterations int) string {
	stored, server := scramKeys(password, salt, iterations)
	b64 := base64.StdEncoding.EncodeToString
	return fmt.Sprintf("%s$%d:%s$%s:%s", scheme, iterations, b64(salt), b64(stored), b64(server))
}

// Matches reports whether verifier was made of password. A verifier of another kind (MD5), or none,
// does not match.
func Matches(verifier, password string) bool {
	v, ok := parseVerifier(verifier)
	if !ok {
		return false
	}
	stored, server := scramKeys(password, v.salt, v.iterations)
	return subtle.ConstantTimeCompare(stored, v.stored)&subtle.ConstantTimeCompare(server, v.server) == 1
}

// IsVerifier reports whether s is a SCRAM verifier, which PostgreSQL would keep as it is when it is
// given as a password.
func IsVerifier(s string) bool {
	_, ok := parseVerifier(s)
	return ok
}

type verifier struct {
	iterations           int
	salt, stored, server []byte
}

func parseVerifier(s string) (verifier, bool) {
	parts := strings.Split(s, "$")
	if len(parts) != 3 || parts[0] != scheme {
		return verifier{}, false
	}
	count, salt, ok1 := strings.Cut(parts[1], ":")
	stored, server, ok2 := strings.Cut(parts[2], ":")
	iterations, err := strconv.Atoi(count)
	if !ok1 || !ok2 || err != nil || iterations < 1 || iterations > maxIterations {
		return verifier{}, false
	}
	v := verifier{iterations: iterations}
	for _, field := range []struct {
		to   *[]byte
		from string
	}{{&v.salt, salt}, {&v.stored, stored}, {&v.server, server}} {
		if *field.to, err = base64.StdEncoding.DecodeString(field.from); err != nil {
			return verifier{}, false
		}
	}
	return v, len(v.stored) == sha256.Size && len(v.server) == sha256.Size
}

// scramKeys computes StoredKey and ServerKey of RFC 5802, section 3.
func scramKeys(password string, salt []byte, iterations int) (stored, server []byte) {
	salted, err := pbkdf2.Key(sha256.New, saslPrep(password), salt, iterations, sha256.Size)
	if err != nil {
		panic(err) // only for a key length that is too long, or short keys in FIPS mode
	}
	stored32 := sha256.Sum256(mac(salted, "Client Key"))
	return stored32[:], mac(salted, "Server Key")
}

func mac(key []byte, text string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(text))
	return h.Sum(nil)
}
