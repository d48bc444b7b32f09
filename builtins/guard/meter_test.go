package guard

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

func TestMeter(t *testing.T) {
	b := a("b", secondary, secondary)
	v := view{taken: at, nodes: []node{a("a", primary, primary), b}}
	for _, x := range []struct {
		name string
		do   func(m *meter)
		want []string
	}{
		{"all is well", func(m *meter) { m.looked(v, decide(v, silent), false) }, []string{"acting 1", "guarding 1", "alarm 0"}},
		{"a dry run", func(m *meter) { m.looked(v, decide(v, silent), true) }, []string{"acting 0", "guarding 1"}},
		{"blind", func(m *meter) {
			v := view{why: "the monitor does not answer"}
			m.looked(v, decide(v, silent), false)
		}, []string{"acting 0", "guarding 0", "alarm 0"}},
		{"no standby for it", func(m *meter) {
			v := view{taken: at, nodes: []node{a("a", primary, primary), a("b", secondary, secondary, "never promoted")}}
			m.looked(v, decide(v, silent), false)
		}, []string{"acting 1", "guarding 0"}},
		{"a failed step", func(m *meter) { m.did(step{kind: letIn}, errors.New("no")) }, []string{"alarm 1", `steps_total{step="let in",outcome="failed"} 1`}},
		{"a step", func(m *meter) { m.did(step{kind: fence}, nil) }, []string{"alarm 0", `steps_total{step="fence",outcome="done"} 1`, `steps_total{step="ask",outcome="done"} 0`}},
	} {
		m := newMeter()
		x.do(m)
		var served bytes.Buffer
		m.set.WritePrometheus(&served)
		for _, line := range append(x.want, "last_look_timestamp_seconds ") {
			if !strings.Contains(served.String(), "pgrun_guard_"+line) {
				t.Errorf("%s: no %q in\n%s", x.name, line, served.String())
			}
		}
	}
}
