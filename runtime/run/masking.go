package run

import (
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/pgrun/pgrun/runtime/builtin"
	"github.com/pgrun/pgrun/runtime/report"
	"github.com/pgrun/pgrun/runtime/secret"
)

// masking hides secrets in all that a run reports, and lets one goroutine report at a time.
type masking struct {
	mu   sync.Mutex
	sink report.Sink
	mask *secret.Mask
}

func (m *masking) hide(s string) string { return m.mask.Hide(s) }

func (m *masking) Play(p report.Play) {
	m.mu.Lock()
	defer m.mu.Unlock()
	p.Name = m.hide(p.Name)
	p.Tasks = slices.Clone(p.Tasks)
	for i, title := range p.Tasks {
		p.Tasks[i] = m.hide(title)
	}
	m.sink.Play(p)
}

func (m *masking) TaskStart(r report.TaskRef) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.sink.TaskStart(r)
}

func (m *masking) Event(r report.TaskRef, e builtin.Event) {
	m.mu.Lock()
	defer m.mu.Unlock()
	e.Summary = slices.Clone(e.Summary)
	for i, line := range e.Summary {
		e.Summary[i] = m.hide(line)
	}
	e.Object, e.Diff = m.hide(e.Object), m.hide(e.Diff)
	e.Data = maps.Clone(e.Data)
	for name, value := range e.Data {
		switch value.(type) {
		case bool, nil:
			continue
		}
		text := fmt.Sprint(value) // a number is as secret as its digits
		if hidden := m.hide(text); hidden != text {
			e.Data[name] = hidden
		}
	}
	m.sink.Event(r, e)
}

func (m *masking) TaskEnd(r report.TaskResult) {
	m.mu.Lock()
	defer m.mu.Unlock()
	r.Error = m.hide(r.Error)
	m.sink.TaskEnd(r)
}

func (m *masking) Note(message string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.sink.Note(m.hide(message))
}

func (m *masking) Recap(r report.Recap) {
	m.mu.Lock()
	defer m.mu.Unlock()
	r.Message = m.hide(r.Message)
	for i, h := range r.Hosts {
		r.Hosts[i].Reached = m.hide(h.Reached)
	}
	m.sink.Recap(r)
}
