package vault

import (
	"fmt"
	"io"
	"log/slog"
)

const mask = "********"

// Secret is a string that shows as asterisks wherever Go prints, logs or
// encodes it; [Secret.Reveal] is the one way to its value, so uses of it can be
// found. Package fmt passes by methods in two places: the verb %p, which vet
// reports, and unexported fields, so a struct that keeps a Secret in one must
// not be printed itself.
type Secret string

// Reveal returns the value.
func (s Secret) Reveal() string { return string(s) }

// String returns asterisks, as many for any value.
func (Secret) String() string { return mask }

// GoString is what %#v prints.
func (Secret) GoString() string { return mask }

// Format covers every verb, %x and %d among them, which would pass by String.
func (Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, mask) }

// MarshalText is for XML, YAML and whatever else encodes text.
func (Secret) MarshalText() ([]byte, error) { return []byte(mask), nil }

// MarshalJSON is for encoding/json.
func (Secret) MarshalJSON() ([]byte, error) { return []byte(`"` + mask + `"`), nil }

// LogValue is for log/slog, whatever its handler does with values.
func (Secret) LogValue() slog.Value { return slog.StringValue(mask) }
