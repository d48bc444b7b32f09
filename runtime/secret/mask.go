package secret

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"sync"
	"unicode/utf16"
)

// Hidden stands where a secret's text stood.
const Hidden = "********"

// shortest is the length from which a text is hidden by value. A shorter one would hide ordinary
// words; it is still never printed as a Value.
const shortest = 4

// Mask hides the texts it has learned, as they are and encoded: base64 (both alphabets, at every
// alignment), URL, JSON, hexadecimal and shell quoting, and line by line where there are several. One that was
// folded into several lines, as base64(1) does, is found as well.
// It is safe for concurrent use.
type Mask struct {
	mu    sync.RWMutex
	forms map[string]bool
}

// NewMask returns a Mask that knows nothing yet.
func NewMask() *Mask { return &Mask{forms: map[string]bool{}} }

// Learn makes every later Hide hide text and its encoded forms.
func (m *Mask) Learn(text string) {
	forms := []string{text}
	trimmed := strings.TrimSpace(text)
	if trimmed != text {
		forms = append(forms, trimmed)
	}
	if strings.Contains(trimmed, "\n") {
		for line := range strings.Lines(trimmed) {
			if line = strings.TrimSpace(line); len(line) >= 2*shortest {
				forms = append(forms, line)
			}
		}
	}
	for _, form := range forms {
		m.add(form)
		m.learnEncoded(form)
	}
}

func (m *Mask) learnEncoded(text string) {
	if len(text) < shortest {
		return
	}
	forms := append(base64Forms(text), jsonForms(text)...)
	forms = append(forms,
		url.QueryEscape(text), url.PathEscape(text), url.UserPassword("", text).String()[1:],
		strings.ReplaceAll(strings.ReplaceAll(url.QueryEscape(text), "+", "%20"), "%2F", "/"), // Python's quote
		hex.EncodeToString([]byte(text)), strings.ToUpper(hex.EncodeToString([]byte(text))),
		strings.ReplaceAll(text, "'", `'\''`), strings.ReplaceAll(text, "'", "''"))
	for _, form := range forms {
		if form != text {
			m.add(form)
		}
	}
}

// jsonForms are text as the writers of JSON have it: as it is but for quotes, with what HTML minds escaped, and with all
// that is not ASCII escaped.
func jsonForms(text string) []string {
	var plain strings.Builder
	encoder := json.NewEncoder(&plain)
	encoder.SetEscapeHTML(false)
	_ = encoder.Encode(text) // a string always can be
	inner := func(quoted string) string {
		return strings.TrimSuffix(strings.TrimPrefix(strings.TrimSpace(quoted), `"`), `"`)
	}
	html, _ := json.Marshal(text)
	var ascii strings.Builder
	for _, unit := range utf16.Encode([]rune(inner(plain.String()))) {
		if unit < 0x80 {
			ascii.WriteByte(byte(unit))
		} else {
			fmt.Fprintf(&ascii, `\u%04x`, unit)
		}
	}
	return []string{inner(plain.String()), inner(string(html)), ascii.String()}
}

// base64Forms returns the part of text's base64 that does not depend on what surrounds it, for each
// of the three places in a group of three bytes at which text may begin.
func base64Forms(text string) []string {
	var forms []string
	for _, encoding := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
		for lead := range 3 {
			encoded := encoding.EncodeToString([]byte(strings.Repeat("x", lead) + text))
			from := (lead*8 + 5) / 6
			to := (lead + len(text)) * 8 / 6
			if to-from >= 2*shortest {
				forms = append(forms, encoded[from:to])
			}
		}
	}
	return forms
}

func (m *Mask) add(form string) {
	if len(form) < shortest {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.forms[form] = true
}

// Hide returns s with every known text replaced. Where two overlap, what either covers is hidden.
func (m *Mask) Hide(s string) string {
	flat, at := unfold(s)
	var found []span
	m.mu.RLock()
	for form := range m.forms {
		found = appendSpans(found, s, form)
		if at != nil && len(form) >= shortestFolded {
			for _, f := range appendSpans(nil, flat, form) {
				found = append(found, span{at[f.from], at[f.to-1] + 1})
			}
		}
	}
	m.mu.RUnlock()
	if len(found) == 0 {
		return s
	}
	slices.SortFunc(found, func(a, b span) int { return a.from - b.from })
	var b strings.Builder
	end := 0 // of what is written or hidden
	for _, f := range found {
		if f.from >= end {
			b.WriteString(s[end:f.from])
			b.WriteString(Hidden)
		}
		end = max(end, f.to)
	}
	b.WriteString(s[end:])
	return b.String()
}

// span is a part of a text.
type span struct{ from, to int }

func appendSpans(found []span, s, form string) []span {
	for from := 0; ; {
		at := strings.Index(s[from:], form)
		if at < 0 {
			return found
		}
		found = append(found, span{from + at, from + at + len(form)})
		from += at + 1
	}
}

// shortestFolded is the length from which a text is found although it was folded. The ends and beginnings of lines make
// a short one by chance.
const shortestFolded = 12

// unfold joins the lines of s, and says where in s each byte of that is; it returns nothing where s is one line.
func unfold(s string) (flat string, at []int) {
	if !strings.Contains(strings.TrimSuffix(s, "\n"), "\n") {
		return "", nil
	}
	var b strings.Builder
	for i := range len(s) {
		if s[i] != '\n' && s[i] != '\r' {
			b.WriteByte(s[i])
			at = append(at, i)
		}
	}
	return b.String(), at
}
