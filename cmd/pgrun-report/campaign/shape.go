package campaign

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"
)

// shape says which field a file lacks, or has too many. encoding/json takes both without a word, and then a time whose
// name is misspelled is one that never was. What is of another type is left to it.
func shape(content []byte, of any) error {
	return shapeOf(content, reflect.TypeOf(of).Elem(), "")
}

func shapeOf(content json.RawMessage, t reflect.Type, at string) error {
	switch {
	case t == reflect.TypeFor[time.Time]():
		if err := json.Unmarshal(content, &time.Time{}); err != nil { // which does not say where it is
			return fmt.Errorf("%s: %s is no time as RFC 3339 has it, such as 2026-11-27T08:00:00.25Z", at, content)
		}
	case t.Kind() == reflect.Slice:
		var items []json.RawMessage
		_ = json.Unmarshal(content, &items)
		for i, item := range items {
			if err := shapeOf(item, t.Elem(), fmt.Sprintf("%s[%d]", at, i)); err != nil {
				return err
			}
		}
	case t.Kind() == reflect.Struct:
		var members map[string]json.RawMessage
		_ = json.Unmarshal(content, &members)
		if members != nil {
			return shapeOfStruct(members, t, at)
		}
	}
	return nil
}

func shapeOfStruct(members map[string]json.RawMessage, t reflect.Type, at string) error {
	if at != "" {
		at += "."
	}
	for field := range t.Fields() {
		name, options, _ := strings.Cut(field.Tag.Get("json"), ",")
		if name == "-" {
			continue
		}
		member, there := members[name]
		delete(members, name)
		null := string(member) == "null"
		switch {
		case options == "omitempty" && (!there || null):
		case !there:
			return fmt.Errorf("%s%s: not there", at, name)
		case null && field.Type.Kind() != reflect.Pointer:
			return fmt.Errorf("%s%s: null, and has to be known", at, name)
		default:
			if err := shapeOf(member, field.Type, at+name); err != nil {
				return err
			}
		}
	}
	if unknown := slices.Sorted(maps.Keys(members)); len(unknown) > 0 {
		return fmt.Errorf("%s%s: version %d of the format has no such field", at, unknown[0], Version)
	}
	return nil
}
