package vault

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"

	"go.yaml.in/yaml/v4"
)

// ErrYAML matches every error about YAML that could be read but not used:
// syntax, a duplicate key, an unknown tag, too many aliases. A value that
// cannot be decrypted matches [ErrUnreadable] instead.
var ErrYAML = errors.New("not usable YAML")

// Map is a YAML mapping in the order of the file.
type Map []Entry

// Entry is one key of a [Map] and its value. Keys are names and not secret: a
// string, int64, float64, bool or nil.
type Entry struct {
	Key   any
	Value any
}

// Get returns the value of a key.
func (m Map) Get(key any) (any, bool) {
	for _, e := range m {
		if e.Key == key {
			return e.Value, true
		}
	}
	return nil, false
}

const (
	// maxYAML bounds the text of a document, whose parsed form is a hundred
	// times larger.
	maxYAML = 4 << 20
	// maxAliased bounds the values that aliases repeat. Nine short lines can
	// otherwise stand for a billion values.
	maxAliased = 100_000
)

// Load returns the one document of the YAML file at path, given what was read
// from it: encrypted as a whole, in values tagged !vault, both or neither. An
// empty file is nil.
//
// A value is a [Map], []any, [Secret], int64, float64, bool or nil. Every string
// is a Secret, encrypted or not, except for keys. Whether plain text is a
// string or a number is decided as Ansible does, by YAML 1.1: yes is true, 0644
// is 420, and 1e5 is a string. Two exceptions serve whoever forgot the quotes:
// dates, and numbers in base 60 such as 12:30, are strings. Aliases share
// values, so results must not be modified.
func Load(ctx context.Context, path string, data []byte, ids *Identities) (any, error) {
	text, err := Open(ctx, path, data, ids)
	if err != nil {
		return nil, err
	}
	l := loader{ctx: ctx, path: path, ids: ids, built: make(map[*yaml.Node]*built)}
	if Encrypted(data) {
		l.note = " (a position in the decrypted text)"
	}
	if len(text) > maxYAML {
		return nil, fmt.Errorf("%s: %w: it has %d bytes, and %d MiB are the most: split the file", path, ErrYAML, len(text), maxYAML>>20)
	}
	root, err := l.parse(text)
	if err != nil || root == nil {
		return nil, err
	}
	return l.value(root)
}

// loader turns the nodes of one document into values.
type loader struct {
	ctx  context.Context
	path string
	note string // added to errors with a position
	ids  *Identities

	values  int // made so far, those repeated by aliases included
	aliased int // of these, repeated by aliases
	built   map[*yaml.Node]*built
}

// built is the value of an anchored node. It has no size while being made,
// which is how a node that contains itself is found.
type built struct {
	value any
	size  int
}

func (l *loader) value(n *yaml.Node) (any, error) {
	if n.Kind == yaml.AliasNode {
		return l.alias(n)
	}
	if n.Anchor == "" {
		return l.newValue(n)
	}
	if b, ok := l.built[n]; ok {
		if b.size == 0 {
			return nil, l.fail(n, errors.New("a value contains itself: remove the alias"))
		}
		return b.value, nil
	}
	b := &built{}
	l.built[n] = b
	before := l.values
	value, err := l.newValue(n)
	b.value, b.size = value, l.values-before
	return value, err
}

// alias shares the anchored value and counts it as if it were repeated, because
// whoever walks the result walks it again.
func (l *loader) alias(n *yaml.Node) (any, error) {
	value, err := l.value(n.Alias)
	if err != nil {
		return nil, err
	}
	size := l.built[n.Alias].size
	l.values += size
	if l.aliased += size; l.aliased > maxAliased {
		return nil, l.fail(n, fmt.Errorf("aliases repeat more than %d values: write out what is needed", maxAliased))
	}
	return value, nil
}

func (l *loader) newValue(n *yaml.Node) (any, error) {
	l.values++
	switch {
	case n.Kind == yaml.ScalarNode:
		return l.scalar(n)
	case n.Kind == yaml.SequenceNode && collectionTag(n, "!!seq"):
		return l.sequence(n)
	case n.Kind == yaml.MappingNode && collectionTag(n, "!!map"):
		return l.mapping(n)
	}
	return nil, l.unknownTag(n)
}

// collectionTag accepts !unsafe, with which Ansible keeps strings from being
// taken for templates: here they never are.
func collectionTag(n *yaml.Node, standard string) bool {
	return n.Tag == standard || n.Tag == "!" || n.Tag == "!unsafe"
}

func (l *loader) sequence(n *yaml.Node) (any, error) {
	list := make([]any, 0, len(n.Content))
	for _, item := range n.Content {
		value, err := l.value(item)
		if err != nil {
			return nil, err
		}
		list = append(list, value)
	}
	return list, nil
}

func (l *loader) scalar(n *yaml.Node) (any, error) {
	if n.Style&yaml.TaggedStyle == 0 {
		const quoted = yaml.SingleQuotedStyle | yaml.DoubleQuotedStyle | yaml.LiteralStyle | yaml.FoldedStyle
		if n.Style&quoted != 0 || n.Tag == "!" {
			return Secret(n.Value), nil
		}
		return l.plain(n)
	}
	switch n.Tag {
	case "!vault", "!vault-encrypted":
		plain, err := Decrypt(l.ctx, []byte(n.Value), l.ids)
		if err != nil {
			return nil, l.at(n, err)
		}
		return Secret(plain), nil
	case "!!str", "!unsafe":
		return Secret(n.Value), nil
	case "!!binary":
		return l.binary(n)
	case "!!null", "!!bool", "!!int", "!!float":
		return l.tagged(n)
	}
	return nil, l.unknownTag(n)
}

func (l *loader) plain(n *yaml.Node) (any, error) {
	value, err := resolve(n.Value)
	if err != nil {
		return nil, l.fail(n, err)
	}
	return value, nil
}

// tagged is a scalar whose type is written out.
func (l *loader) tagged(n *yaml.Node) (any, error) {
	value, err := l.plain(n)
	if err != nil {
		return nil, err
	}
	fits := false
	switch v := value.(type) {
	case nil:
		fits = n.Tag == "!!null"
	case bool:
		fits = n.Tag == "!!bool"
	case float64:
		fits = n.Tag == "!!float"
	case int64:
		if n.Tag == "!!float" {
			return float64(v), nil
		}
		fits = n.Tag == "!!int"
	}
	if !fits {
		return nil, l.fail(n, fmt.Errorf("the value is not what its tag %s says: correct the one or the other", n.Tag))
	}
	return value, nil
}

func (l *loader) binary(n *yaml.Node) (any, error) {
	digits := bytes.Join(bytes.Fields([]byte(n.Value)), nil)
	decoded, err := base64.StdEncoding.AppendDecode(nil, digits)
	if err != nil {
		return nil, l.fail(n, errors.New("the value is not base64, as its tag !!binary says: correct the one or the other"))
	}
	return Secret(decoded), nil
}

func (l *loader) unknownTag(n *yaml.Node) error {
	return l.fail(n, errors.New("unknown tag: only !vault, !vault-encrypted, !unsafe and YAML's own are understood"))
}

// fail is an error about the YAML at n. Its text must not quote the file: in a
// vault anything may be the secret, a tag, an anchor or a mistyped key included.
func (l *loader) fail(n *yaml.Node, err error) error {
	return l.at(n, fmt.Errorf("%w: %w", ErrYAML, err))
}

func (l *loader) at(n *yaml.Node, err error) error {
	return l.position(n.Line, n.Column, err)
}

func (l *loader) position(line, column int, err error) error {
	return fmt.Errorf("%s:%d:%d: %w%s", l.path, line, column, err, l.note)
}
