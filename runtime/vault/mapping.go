package vault

import (
	"errors"
	"fmt"

	"go.yaml.in/yaml/v4"
)

// mapping refuses duplicate keys, of which Ansible takes the last with a
// warning. Keys merged with << come first, and the mapping's own replace them.
func (l *loader) mapping(n *yaml.Node) (any, error) {
	m := mapBuilder{
		entries: make(Map, 0, len(n.Content)/2),
		index:   make(map[any]int),
		own:     make(map[any]*yaml.Node),
	}
	var merge *yaml.Node
	for i := 0; i < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		if key.Tag != "!!merge" {
			continue
		}
		if merge != nil {
			return nil, l.duplicate(key, merge)
		}
		merge = key
		if err := l.merge(&m, value); err != nil {
			return nil, err
		}
	}
	for i := 0; i < len(n.Content); i += 2 {
		if n.Content[i].Tag == "!!merge" {
			continue
		}
		key, err := l.key(n.Content[i])
		if err != nil {
			return nil, err
		}
		if first, ok := m.own[key]; ok {
			return nil, l.duplicate(n.Content[i], first)
		}
		m.own[key] = n.Content[i]
		value, err := l.value(n.Content[i+1])
		if err != nil {
			return nil, err
		}
		m.set(key, value)
	}
	return m.entries, nil
}

// merge adds the keys of a mapping, or of a list of them where an earlier one
// has precedence.
func (l *loader) merge(m *mapBuilder, n *yaml.Node) error {
	value, err := l.value(n)
	if err != nil {
		return err
	}
	from, ok := value.([]any)
	if !ok {
		from = []any{value}
	}
	for i := len(from) - 1; i >= 0; i-- {
		merged, ok := from[i].(Map)
		if !ok {
			return l.fail(n, errors.New("<< takes a mapping or a list of mappings"))
		}
		for _, e := range merged {
			m.set(e.Key, e.Value)
		}
	}
	return nil
}

func (l *loader) key(n *yaml.Node) (any, error) {
	named := n
	if n.Kind == yaml.AliasNode {
		named = n.Alias
	}
	if named.Kind != yaml.ScalarNode {
		return nil, l.fail(n, errors.New("a key must be a single value, not a list or a mapping"))
	}
	if named.Tag == "!vault" || named.Tag == "!vault-encrypted" {
		return nil, l.fail(n, errors.New("a key cannot be encrypted: encrypt its value, or the whole file"))
	}
	key, err := l.value(n)
	if s, ok := key.(Secret); ok {
		return s.Reveal(), err
	}
	return key, err
}

func (l *loader) duplicate(n, first *yaml.Node) error {
	return l.fail(n, fmt.Errorf("the key is at line %d already: remove one of the two", first.Line))
}

// mapBuilder is a Map under construction.
type mapBuilder struct {
	entries Map
	index   map[any]int        // of entries
	own     map[any]*yaml.Node // the mapping's own keys, not the merged ones
}

func (m *mapBuilder) set(key, value any) {
	if i, ok := m.index[key]; ok {
		m.entries[i].Value = value
		return
	}
	m.index[key] = len(m.entries)
	m.entries = append(m.entries, Entry{key, value})
}
