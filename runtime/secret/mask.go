package secret

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"net/url"
	"slices"
	"strings"
	"sync"
)

// Hidden stands where a secret's text stood.
const Hidden = "********"

// shortest is the length from which a text is hidden by value. A shorter one would hide ordinary
// words; it is still never printed as a Value.
const shortest = 4

// Mask hides the texts it has learned, as they are and encoded: base64 (both alphabets, at every
// alignment), URL, JSON, hexadecimal and shell quoting, and line by line where there are several.
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
	if strings.Contains(text, "\n") {
		for line := range strings.Lines(text) {
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
	quoted, _ := json.Marshal(text)
	forms := append(base64Forms(text),
		url.QueryEscape(text), url.PathEscape(text), url.UserPassword("", text).String()[1:],
		hex.EncodeToString([]byte(text)), strings.ToUpper(hex.EncodeToString([]byte(text))),
		strings.Trim(string(quoted), `"`), strings.ReplaceAll(text, "'", `'\''`), strings.ReplaceAll(text, "'", "''"))
	for _, form := range forms {
		if form != text {
			m.add(form)
		}
	}
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
	var found []span
	m.mu.RLock()
	for form := range m.forms {
		for from := 0; ; {
			at := strings.Index(s[from:], form)
			if at < 0 {
				break
			}
			found = append(found, span{from + at, from + at + len(form)})
			from += at + 1
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
