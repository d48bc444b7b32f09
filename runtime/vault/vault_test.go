package vault

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
)

// emptyVault is the format's known answer: no content, password hunter2, and a
// salt of 32 sevens.
const emptyVault = `$ANSIBLE_VAULT;1.1;AES256
30373037303730373037303730373037303730373037303730373037303730373037303730373037
3037303730373037303730373037303730373037303730370a633766616466313561633433666562
35323861336230373336393630643931353435393861643038313631666165383539633337633833
3330363961643764620a356335656132353630613065396531326636313834636662633533633734
3338
`

// asking gives one password, as if typed at the prompt.
func asking(t testing.TB, password string) *Identities {
	t.Helper()
	ids, err := NewIdentities(Options{
		Ask:    true,
		Prompt: func(context.Context, string) ([]byte, error) { return []byte(password), nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	return ids
}

func seal(t testing.TB, plain, password, label string) []byte {
	t.Helper()
	sealed, err := Encrypt([]byte(plain), Secret(password), label)
	if err != nil {
		t.Fatal(err)
	}
	return sealed
}

func TestKnownVault(t *testing.T) {
	salt := bytes.Repeat([]byte{7}, saltSize)
	sealed, err := encryptWithSalt(nil, "hunter2", "", salt)
	if err != nil || string(sealed) != emptyVault {
		t.Errorf("encrypted to\n%s%v", sealed, err)
	}
	for name, text := range map[string]string{
		"as written":        emptyVault,
		"CRLF":              strings.ReplaceAll(emptyVault, "\n", "\r\n"),
		"no last newline":   strings.TrimSuffix(emptyVault, "\n"),
		"blank lines after": emptyVault + "\n\r\n",
		"another version":   strings.Replace(emptyVault, "1.1", "9.9", 1),
		"1.2 with label":    strings.Replace(emptyVault, "1.1;AES256", "1.2;AES256;prod", 1),
		"spaces in header":  strings.Replace(emptyVault, "1.1;AES256", " 1.1 ; AES256 ", 1),
	} {
		plain, err := Decrypt(t.Context(), []byte(text), asking(t, "hunter2"))
		if err != nil || len(plain) != 0 {
			t.Errorf("%s: decrypted to %q, %v", name, plain, err)
		}
	}
}

func TestRoundTrip(t *testing.T) {
	for _, label := range []string{"", "default", "prod", "a b@c"} {
		for _, size := range []int{0, 1, 15, 16, 17, 1000} {
			plain := strings.Repeat("é", size)
			sealed := seal(t, plain, "pass\x00wörd", label)
			got, err := Decrypt(t.Context(), sealed, asking(t, "pass\x00wörd"))
			if err != nil || string(got) != plain {
				t.Errorf("label %q, %d: %q, %v", label, size, got, err)
			}
			want := label
			if want == "" {
				want = DefaultLabel
			}
			if got, err := Label(sealed); got != want || err != nil {
				t.Errorf("label %q came back as %q, %v", label, got, err)
			}
		}
	}
	if bytes.Equal(seal(t, "x", "p", ""), seal(t, "x", "p", "")) {
		t.Error("the salt was used twice")
	}
}

func TestEncryptRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		plain           string
		password, label string
		want            string
	}{
		"a vault":           {emptyVault, "p", "", "already encrypted"},
		"empty password":    {"x", "", "", "password is empty"},
		"semicolon":         {"x", "p", "a;b", "semicolon"},
		"newline":           {"x", "p", "a\nb", "printable"},
		"not ASCII":         {"x", "p", "prød", "printable ASCII"},
		"surrounding space": {"x", "p", "prod ", "space"},
		"too large":         {strings.Repeat("x", maxPlain+1), "p", "", "15 MiB"},
	} {
		sealed, err := Encrypt([]byte(c.plain), Secret(c.password), c.label)
		if sealed != nil || err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %d bytes, %v", name, len(sealed), err)
		}
	}
}

func TestLargestVaultCanBeRead(t *testing.T) {
	if testing.Short() {
		t.Skip("encrypts 15 MiB")
	}
	sealed := seal(t, strings.Repeat("x", maxPlain), "p", "")
	if plain, err := Decrypt(t.Context(), sealed, asking(t, "p")); err != nil || len(plain) != maxPlain {
		t.Errorf("%d bytes, %v", len(plain), err)
	}
}

func TestRefused(t *testing.T) {
	verified := func(e envelope) string { // a writer that knows the password and errs
		k, err := deriveKeys("hunter2", e.salt)
		if err != nil {
			t.Fatal(err)
		}
		e.mac = k.sum(e.ciphertext)
		return string(e.format())
	}
	for name, c := range map[string]struct {
		text string
		is   error
		want string
	}{
		"empty":             {"", ErrNotEncrypted, ""},
		"plain text":        {"a: 1\n", ErrNotEncrypted, "$ANSIBLE_VAULT"},
		"header word only":  {"$ANSIBLE_VAULT", ErrDamaged, "first line"},
		"word runs on":      {"$ANSIBLE_VAULTS;1.1;AES256\n3030", ErrDamaged, "first line"},
		"header only":       {"$ANSIBLE_VAULT;1.1;AES256", ErrDamaged, "ends before"},
		"old cipher":        {"$ANSIBLE_VAULT;1.0;AES\n3030", nil, "cipher other than AES256"},
		"odd digits":        {"$ANSIBLE_VAULT;1.1;AES256\n303", ErrDamaged, "hex"},
		"not hex":           {"$ANSIBLE_VAULT;1.1;AES256\nhello!", ErrDamaged, "hex"},
		"upper case":        {strings.Replace(emptyVault, "c74", "C74", 1) + "A0", ErrDamaged, "lower-case"},
		"empty parts":       {"$ANSIBLE_VAULT;1.1;AES256\n0a0a\n", ErrMismatch, ""},
		"cut in block":      {string(envelope{label: DefaultLabel, mac: make([]byte, 32), ciphertext: []byte("short")}.format()), ErrMismatch, ""},
		"too large":         {magic + strings.Repeat("0", maxSealed), nil, "64 MiB"},
		"verified, no data": {verified(envelope{label: DefaultLabel}), ErrDamaged, "padding"},
		"verified, unpadded": {
			verified(envelope{label: DefaultLabel, ciphertext: make([]byte, 16)}), ErrDamaged, "padding",
		},
	} {
		plain, err := Decrypt(t.Context(), []byte(c.text), asking(t, "hunter2"))
		if plain != nil || !errors.Is(err, ErrUnreadable) || c.is != nil && !errors.Is(err, c.is) || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %q, %v", name, plain, err)
		}
	}
}

func TestWrongPasswordSaysWhatWasTried(t *testing.T) {
	_, err := Open(t.Context(), "prod.yml", seal(t, "x", "right", "prod"), asking(t, "wrong"))
	want := `prod.yml: cannot open the vault: wrong password, or the file was changed (its label is "prod"; tried default@prompt): check the password, or restore the file from a copy`
	if err == nil || err.Error() != want || !errors.Is(err, ErrMismatch) {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}

func TestOpenPassesPlainFiles(t *testing.T) {
	for _, text := range []string{"", "password: example\n", "\x00\xff"} {
		got, err := Open(t.Context(), "example.yml", []byte(text), nil)
		if err != nil || string(got) != text {
			t.Errorf("%q: %q, %v", text, got, err)
		}
	}
}

// A vault cut anywhere gives nothing. Two cuts leave nothing to refuse: the
// last newline, which a vault need not have, and everything, for Open, which
// takes an empty file for a plain one.
func TestTruncated(t *testing.T) {
	ids := asking(t, "pw")
	sealed := seal(t, "a: secret\nb: another, so that there are several blocks\n", "pw", "prod")
	for n := range len(sealed) - 1 {
		plain, err := Decrypt(t.Context(), sealed[:n], ids)
		if plain != nil || !errors.Is(err, ErrUnreadable) {
			t.Errorf("Decrypt at %d of %d: %q, %v", n, len(sealed), plain, err)
		}
		if n == 0 {
			continue
		}
		plain, err = Open(t.Context(), "f", sealed[:n], ids)
		if plain != nil || !errors.Is(err, ErrUnreadable) {
			t.Errorf("Open at %d of %d: %q, %v", n, len(sealed), plain, err)
		}
	}
}

func TestEveryBitOfTheBodyCounts(t *testing.T) {
	ids := asking(t, "pw")
	sealed := seal(t, "a: secret\n", "pw", "")
	body := bytes.IndexByte(sealed, '\n') + 1
	salt := body + 4*saltSize // where it ends
	for bit := body * 8; bit < len(sealed)*8; bit++ {
		if bit/8 < salt && bit%5 != 0 {
			continue // a sample is enough where each costs a derivation
		}
		flipped := bytes.Clone(sealed)
		flipped[bit/8] ^= 1 << (bit % 8)
		plain, err := Decrypt(t.Context(), flipped, ids)
		if plain != nil || !errors.Is(err, ErrUnreadable) {
			t.Errorf("bit %d of byte %d: %q, %v", bit%8, bit/8, plain, err)
		}
	}
}

func TestReencryptKeepsLabelAndPassword(t *testing.T) {
	ids := asking(t, "pw")
	again, err := Reencrypt(t.Context(), seal(t, "old", "pw", "prod"), []byte("new"), ids)
	if err != nil {
		t.Fatal(err)
	}
	plain, err := Decrypt(t.Context(), again, ids)
	label, _ := Label(again)
	if string(plain) != "new" || label != "prod" || err != nil {
		t.Errorf("%q, label %q, %v", plain, label, err)
	}
	if _, err := Reencrypt(t.Context(), seal(t, "old", "other", ""), []byte("new"), ids); !errors.Is(err, ErrMismatch) {
		t.Errorf("wrong password: %v", err)
	}
}

func TestKeysAreDerivedOnce(t *testing.T) {
	var cache keyCache
	var seen sync.Map
	var wg sync.WaitGroup
	for range 8 {
		for _, salt := range []string{"one", "two"} {
			wg.Go(func() {
				k, err := cache.get("pw", []byte(salt))
				if err != nil {
					t.Error(err)
				}
				if first, loaded := seen.LoadOrStore(salt, k); loaded && first != k {
					t.Errorf("salt %q was derived again", salt)
				}
			})
		}
	}
	wg.Wait()
	one, _ := cache.get("pw", []byte("one"))
	other, _ := cache.get("pw2", []byte("one"))
	if bytes.Equal(one.aes, other.aes) {
		t.Error("two passwords gave the same keys")
	}
}

func BenchmarkDecrypt(b *testing.B) {
	ids := asking(b, "pw")
	sealed := seal(b, strings.Repeat("key: value\n", 100), "pw", "")
	for b.Loop() {
		if _, err := Decrypt(b.Context(), sealed, ids); err != nil {
			b.Fatal(err)
		}
	}
}
