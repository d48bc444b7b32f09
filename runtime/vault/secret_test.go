package vault

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"
)

type holder struct{ S Secret }

func TestSecretIsNeverPrinted(t *testing.T) {
	const value = "s3cr3t"
	s := Secret(value)
	nested := map[string]any{"a": []any{s}, "b": Map{{"key", s}}, "c": &s, "d": holder{s}}

	var sinks []string
	for _, verb := range strings.Fields("%v %+v %#v %s %q %x %X %d %T %10s %-3v") {
		sinks = append(sinks, fmt.Sprintf(verb, s), fmt.Sprintf(verb, nested), fmt.Sprintf(verb, []Secret{s}))
	}
	sinks = append(sinks, fmt.Sprint(s), s.String(), s.GoString(), errors.New(s.String()).Error(), fmt.Errorf("%v", nested).Error())
	for _, marshal := range []func(any) ([]byte, error){json.Marshal, xml.Marshal, yaml.Marshal} {
		for _, v := range []any{s, &s, []Secret{s}, holder{s}} {
			b, err := marshal(v)
			if err != nil {
				t.Errorf("encode: %v", err)
			}
			sinks = append(sinks, string(b))
		}
	}
	var log bytes.Buffer
	slog.New(slog.NewTextHandler(&log, nil)).Info("m", "s", s, "n", nested)
	slog.New(slog.NewJSONHandler(&log, nil)).Info("m", "s", s, "n", nested)
	sinks = append(sinks, log.String())

	for _, out := range sinks {
		if strings.Contains(out, value) || strings.Contains(strings.ToLower(out), fmt.Sprintf("%x", value)) {
			t.Errorf("the value shows in %s", out)
		}
	}
	if got := fmt.Sprintf("%v %#v %s", s, s, s); got != "******** ******** ********" {
		t.Errorf("printed %s", got)
	}
	if s.Reveal() != value {
		t.Errorf("revealed %s", s.Reveal())
	}
}
