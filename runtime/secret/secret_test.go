package secret

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"testing"

	"go.starlark.net/starlark"
	"go.starlark.net/syntax"
)

const hidden = `p@ss "w0rd"/+'x` // every encoding changes it

func TestHideEncodedForms(t *testing.T) {
	mask := NewMask()
	New(mask, hidden)
	quoted, _ := json.Marshal(hidden)
	for name, text := range map[string]string{
		"plain":              hidden,
		"within a word":      "x" + hidden + "y",
		"base64":             base64.StdEncoding.EncodeToString([]byte(hidden)),
		"base64 of user:pw":  base64.StdEncoding.EncodeToString([]byte("user:" + hidden)),
		"base64 of user2:pw": base64.StdEncoding.EncodeToString([]byte("user2:" + hidden + "\n")),
		"base64url":          base64.URLEncoding.EncodeToString([]byte("me:" + hidden)),
		"query":              url.QueryEscape(hidden),
		"path":               url.PathEscape(hidden),
		"userinfo":           (&url.URL{Scheme: "postgresql", User: url.UserPassword("app", hidden), Host: "h"}).String(),
		"hex":                hex.EncodeToString([]byte(hidden)),
		"json":               string(quoted),
		"shell":              "'" + strings.ReplaceAll(hidden, "'", `'\''`) + "'",
		"sql":                "'" + strings.ReplaceAll(hidden, "'", "''") + "'",
	} {
		t.Run(name, func(t *testing.T) {
			got := mask.Hide("before " + text + " after")
			if !strings.Contains(got, Hidden) || !strings.HasPrefix(got, "before ") || !strings.HasSuffix(got, " after") {
				t.Errorf("Hide gave %q", got)
			}
			if strings.Contains(got, "w0rd") {
				t.Errorf("Hide left a part: %q", got)
			}
		})
	}
}

func TestHideLeavesOtherText(t *testing.T) {
	mask := NewMask()
	New(mask, hidden)
	New(mask, "abc") // too short to hide by value
	const text = "abc pass word, nothing to see"
	if got := mask.Hide(text); got != text {
		t.Errorf("Hide gave %q", got)
	}
}

func TestHideLongerSecretFirst(t *testing.T) {
	mask := NewMask()
	New(mask, "hunter2")
	New(mask, "hunter2-and-more")
	if got := mask.Hide("x hunter2-and-more y"); got != "x "+Hidden+" y" {
		t.Errorf("Hide gave %q", got)
	}
}

func TestHideLinesOfAKey(t *testing.T) {
	mask := NewMask()
	New(mask, "-----BEGIN KEY-----\nMIIBVgIBADANBgkq\n-----END KEY-----\n")
	if got := mask.Hide("log: MIIBVgIBADANBgkq"); strings.Contains(got, "MIIB") {
		t.Errorf("Hide gave %q", got)
	}
}

func TestValueDoesNotPrint(t *testing.T) {
	v := New(NewMask(), hidden)
	encoded, _ := json.Marshal(map[string]any{"v": v})
	for _, got := range []string{
		v.String(), fmt.Sprint(v), fmt.Sprintf("%s %v %+v %#v %q %x", v, v, v, v, v, v), string(encoded), fmt.Sprintf("%v", []Value{v}),
	} {
		if strings.Contains(got, "w0rd") || strings.Contains(got, hex.EncodeToString([]byte("w0rd"))) {
			t.Errorf("printed: %s", got)
		}
	}
}

func TestValueInAScript(t *testing.T) {
	mask := NewMask()
	globals := starlark.StringDict{"pw": New(mask, "hunter22"), "same": New(mask, "hunter22"), "other": New(mask, "hunter23")}
	for expr, want := range map[string]string{
		`"user:" + pw`:                           `<secret>`,
		`pw + "@host"`:                           `<secret>`,
		`pw == same`:                             `True`,
		`pw == other`:                            `False`,
		`pw != other`:                            `True`,
		`pw == "hunter22"`:                       `False`, // a string is no secret: compare secret("...")
		`"%s" % pw`:                              `"<secret>"`,
		`str(pw) + repr(pw)`:                     `"<secret><secret>"`,
		`type("a" + pw + "b")`:                   `"secret"`,
		`bool(pw)`:                               `True`,
		`[x for x in dir(pw)]`:                   `[]`,
		`("a" + pw + "b") == ("a" + same + "b")`: `True`,
	} {
		got, err := starlark.EvalOptions(&syntax.FileOptions{}, &starlark.Thread{}, "x", expr, globals)
		if err != nil || got.String() != want {
			t.Errorf("%s = %v, %v, want %s", expr, got, err, want)
		}
	}
	for _, expr := range []string{`pw < other`, `{pw: 1}`, `pw * 2`, `pw[0]`, `len(pw)`, `list(pw)`, `pw in "x"`} {
		if got, err := starlark.EvalOptions(&syntax.FileOptions{}, &starlark.Thread{}, "x", expr, globals); err == nil || strings.Contains(err.Error(), "hunter") {
			t.Errorf("%s = %v, %v, want an error that does not tell", expr, got, err)
		}
	}
}

func TestDerivedShowsAllButItsParts(t *testing.T) {
	mask := NewMask()
	uri, err := New(mask, "hunter22").Binary(syntax.PLUS, starlark.String("@host/db"), starlark.Left)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := mask.Hide("postgresql://app:"+uri.(Value).Reveal()), "postgresql://app:"+Hidden+"@host/db"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	whole := base64.StdEncoding.EncodeToString([]byte(uri.(Value).Reveal()))
	if got := mask.Hide(whole); !strings.Contains(got, Hidden) {
		t.Errorf("base64 of the whole is shown: %q", got)
	}
}

func TestHiddenAsOthersWriteIt(t *testing.T) {
	mask := NewMask()
	New(mask, "a&b\"c<12é/ x")
	New(mask, "hunter22\n")
	for _, s := range []string{
		`a&b\"c<12é/ x`, `a\u0026b\"c\u003c12é/ x`, `a&b\"c<12\u00e9/ x`, "a%26b%22c%3C12%C3%A9/%20x", "hunter22",
	} {
		if got := mask.Hide("x " + s + " y"); got != "x "+Hidden+" y" {
			t.Errorf("Hide(%q) = %q", s, got)
		}
	}
}

func TestHiddenAcrossLines(t *testing.T) {
	mask := NewMask()
	long := strings.Repeat("0123456789abcdef", 5)
	New(mask, long)
	encoded := base64.StdEncoding.EncodeToString([]byte("user:" + long))
	for _, folded := range []string{long[:40] + "\r\n" + long[40:], encoded[:76] + "\n" + encoded[76:]} {
		got := mask.Hide("a\n" + folded + "\nb\n")
		if !strings.HasPrefix(got, "a\n") || !strings.HasSuffix(got, "\nb\n") || strings.Contains(got, folded[12:40]) || strings.Contains(got, folded[len(folded)-8:]) {
			t.Errorf("%q is shown: %q", folded, got)
		}
	}
	if got := mask.Hide("01234\n56789\n"); got != "01234\n56789\n" {
		t.Errorf("lines without a secret: %q", got)
	}
}

func FuzzHide(f *testing.F) {
	f.Add("hunter22", "a", "b")
	f.Add(hidden, "user:", "\n")
	f.Fuzz(func(t *testing.T, text, before, after string) {
		if len(text) < 2*shortest {
			t.Skip()
		}
		mask := NewMask()
		New(mask, text)
		if got := mask.Hide(before + text + after); strings.Contains(got, text) && !strings.Contains(before+Hidden+after, text) {
			t.Errorf("Hide(%q + %q + %q) = %q", before, text, after, got)
		}
	})
}
