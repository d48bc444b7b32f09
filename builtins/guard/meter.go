package guard

import (
	"context"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/VictoriaMetrics/metrics"
)

// meter is what the guard tells Prometheus.
type meter struct {
	set   *metrics.Set
	last  atomic.Int64 // when it last looked, in nanoseconds of Unix time
	gauge struct{ acting, guarding, alarm atomic.Int64 }
}

func newMeter() *meter {
	m := &meter{set: metrics.NewSet()}
	of := func(v *atomic.Int64) func() float64 { return func() float64 { return float64(v.Load()) } }
	m.set.NewGauge("pgrun_guard_acting", of(&m.gauge.acting))
	m.set.NewGauge("pgrun_guard_guarding", of(&m.gauge.guarding))
	m.set.NewGauge("pgrun_guard_alarm", of(&m.gauge.alarm))
	m.set.NewGauge("pgrun_guard_last_look_timestamp_seconds", func() float64 { return float64(m.last.Load()) / float64(time.Second) })
	for _, k := range []kind{ask, fence, report, promote, letIn, unmark} {
		for _, outcome := range []string{"done", "failed"} {
			m.steps(k, outcome)
		}
	}
	return m
}

func (m *meter) steps(k kind, outcome string) *metrics.Counter {
	return m.set.GetOrCreateCounter(`pgrun_guard_steps_total{step="` + string(k) + `",outcome="` + outcome + `"}`)
}

// flag is a gauge's 1 or 0.
func flag(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

// looked counts a look: whether this guard is the one that acts, which in a dry run it is not, whether there is a primary with a
// standby to guard, and whether somebody should look.
func (m *meter) looked(v view, s step, dry bool) {
	m.last.Store(time.Now().UnixNano())
	m.gauge.acting.Store(flag(v.why == "" && !dry))
	m.gauge.guarding.Store(flag(v.guarding()))
	if s.kind == watch {
		m.gauge.alarm.Store(flag(s.alarm))
	}
}

// did counts a step.
func (m *meter) did(s step, err error) {
	outcome := "done"
	if err != nil {
		outcome = "failed"
	}
	m.gauge.alarm.Store(flag(err != nil))
	m.steps(s.kind, outcome).Inc()
}

// serve answers at an address until ctx ends, or the function that it returns is called.
func (m *meter) serve(ctx context.Context, address string) (stop func(), err error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4")
		m.set.WritePrometheus(w)
	})
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second, WriteTimeout: 5 * time.Second, MaxHeaderBytes: 16 << 10}
	go func() { _ = server.Serve(listener) }() // ends with Close
	return func() { _ = server.Close() }, nil
}
