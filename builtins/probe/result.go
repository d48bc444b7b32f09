package probe

import (
	"time"

	starlarktime "go.starlark.net/lib/time"
	"go.starlark.net/starlark"
	"go.starlark.net/starlarkstruct"
)

// result is what a script gets.
func (r *run) result(value starlark.Value, lost []ack, unverified error) starlark.Value {
	why := ""
	if unverified != nil {
		why = unverified.Error()
	}
	gap, from := r.record.gap()
	return starlarkstruct.FromStringDict(starlark.String("writes"), starlark.StringDict{
		"value":         value,
		"acknowledged":  starlark.MakeInt(r.record.acknowledged()),
		"indeterminate": starlark.MakeInt(r.record.indeterminate()),
		"gap":           starlarktime.Duration(gap),
		"gap_began":     moment(from),
		"lost":          list(lost),
		"unverified":    starlark.String(why),
		"overlapping":   list(r.record.overlapping()),
		"servers":       r.perServer(),
	})
}

// list is writes as a script gets them.
func list(writes []ack) starlark.Value {
	all := make([]starlark.Value, len(writes))
	for i, a := range writes {
		all[i] = starlarkstruct.FromStringDict(starlark.String("write"), starlark.StringDict{
			"writer": starlark.MakeInt(a.writer), "number": starlark.MakeInt(a.number),
			"server": starlark.String(a.server), "at": starlarktime.Time(a.at),
		})
	}
	return starlark.NewList(all)
}

// perServer is what each server acknowledged and answered.
func (r *run) perServer() starlark.Value {
	r.record.mu.Lock()
	defer r.record.mu.Unlock()
	all := make([]starlark.Value, len(r.servers))
	for i, s := range r.servers {
		acknowledged, first, last := 0, time.Time{}, time.Time{}
		for _, a := range r.record.acks {
			if a.server != s.name {
				continue
			}
			if acknowledged++; acknowledged == 1 {
				first = a.at
			}
			last = a.at
		}
		read := r.record.reading(s.name)
		all[i] = starlarkstruct.FromStringDict(starlark.String("server"), starlark.StringDict{
			"name":         starlark.String(s.name),
			"acknowledged": starlark.MakeInt(acknowledged), "first": moment(first), "last": moment(last),
			"reads": starlark.MakeInt(read.answers), "stale_reads": starlark.MakeInt(read.stale),
			"first_stale": moment(read.staleFrom), "last_stale": moment(read.staleTil),
		})
	}
	return starlark.NewList(all)
}

// moment is a time as a script gets it: None for none.
func moment(t time.Time) starlark.Value {
	if t.IsZero() {
		return starlark.None
	}
	return starlarktime.Time(t)
}
