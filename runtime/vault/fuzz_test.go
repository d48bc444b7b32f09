package vault

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

// FuzzDecrypt: any input gives an error and no output, or a content that can be
// encrypted and opened again.
func FuzzDecrypt(f *testing.F) {
	f.Add([]byte(emptyVault))
	f.Add([]byte(strings.ReplaceAll(emptyVault, "\n", "\r\n")))
	f.Add([]byte(strings.Replace(emptyVault, "1.1;AES256", "1.2;AES256;prod", 1)))
	f.Add([]byte(emptyVault[:150]))
	f.Add([]byte("$ANSIBLE_VAULT;1.1;AES256\n0a0a\n"))
	f.Add([]byte("$ANSIBLE_VAULT;1.0;AES\n"))
	f.Add([]byte("$ANSIBLE_VAULT"))
	f.Add([]byte("plain: text\n"))
	ids := asking(f, "hunter2")
	f.Fuzz(func(t *testing.T, data []byte) {
		plain, err := Decrypt(t.Context(), data, ids)
		if err != nil {
			if plain != nil || !errors.Is(err, ErrUnreadable) {
				t.Fatalf("%q, %v", plain, err)
			}
			return
		}
		if len(plain) != 0 {
			t.Fatalf("content without the password: %q", plain)
		}
		again, err := Reencrypt(t.Context(), data, []byte("new"), ids)
		if err != nil {
			if checkLabel(mustLabel(t, data)) == nil {
				t.Fatal(err)
			}
			return // a label Ansible would not have written
		}
		if plain, err := Decrypt(t.Context(), again, ids); string(plain) != "new" || err != nil {
			t.Fatalf("%q, %v", plain, err)
		}
	})
}

func mustLabel(t *testing.T, data []byte) string {
	label, err := Label(data)
	if err != nil {
		t.Fatal(err)
	}
	return label
}

// FuzzYAML: any input gives a value of the promised types, or an error that
// says where and shows nothing of the file.
func FuzzYAML(f *testing.F) {
	f.Add([]byte(example))
	f.Add([]byte("a: " + inline(f, "!vault", "x")))
	f.Add([]byte("a: &x [1, {b: 2}]\nc: *x\nd: {<<: {e: 1}, f: !!binary aGk=}\n"))
	f.Add([]byte("a: &x [*x]"))
	f.Add([]byte("%YAML 1.1\n%TAG !e! tag:e,1:\n---\na: !e!x y\n...\n"))
	f.Add([]byte("? [a]\n: b\n"))
	f.Add([]byte("a: >-\n  b\n\n  c\n? d\n: - e\n  - 'f'\n"))
	f.Add([]byte("\xff\xfea\x00:\x00 \x001\x00"))
	ids := asking(f, "pw")
	f.Fuzz(func(t *testing.T, data []byte) {
		value, err := Load(t.Context(), "vars.yml", data, ids)
		if err != nil {
			if value != nil || !errors.Is(err, ErrYAML) && !errors.Is(err, ErrUnreadable) || !strings.HasPrefix(err.Error(), "vars.yml:") {
				t.Fatalf("%#v, %v", value, err)
			}
			if errors.Is(err, ErrMismatch) {
				return // it names the label, which is never meant to be secret
			}
			for _, word := range bytes.Fields(data) {
				if len(word) > 24 && strings.Contains(err.Error(), string(word)) {
					t.Fatalf("the error quotes the file: %v", err)
				}
			}
			return
		}
		promised(t, value)
	})
}

func promised(t *testing.T, value any) {
	switch v := value.(type) {
	case nil, bool, int64, float64, Secret:
	case []any:
		for _, item := range v {
			promised(t, item)
		}
	case Map:
		for _, e := range v {
			switch e.Key.(type) {
			case nil, bool, int64, float64, string:
			default:
				t.Fatalf("a key of type %T", e.Key)
			}
			promised(t, e.Value)
		}
	default:
		t.Fatalf("a value of type %T", value)
	}
}
