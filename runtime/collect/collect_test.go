package collect

import (
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"testing"
	"time"
)

var sink []byte

func collections() uint64 {
	s := []metrics.Sample{{Name: "/gc/cycles/total:gc-cycles"}}
	metrics.Read(s)
	return s[0].Value.Uint64()
}

func TestAfter(t *testing.T) {
	t.Setenv("GOGC", "")
	t.Setenv("GOMEMLIMIT", "")
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	const spare = 64 << 20
	usual := debug.SetGCPercent(100)
	defer debug.SetGCPercent(usual)
	After(int64(m.Sys) + spare)
	before := collections()
	for range spare / 2 >> 20 {
		sink = make([]byte, 1<<20)
	}
	if n := collections() - before; n != 0 {
		t.Errorf("%d collections before the memory is used", n)
	}
	for end := time.Now().Add(time.Minute); ; runtime.Gosched() {
		sink = make([]byte, 1<<20)
		if debug.SetMemoryLimit(-1) > 1<<60 {
			break
		}
		if time.Now().After(end) {
			t.Fatal("there is still a limit")
		}
	}
	if percent := debug.SetGCPercent(100); percent != 100 {
		t.Errorf("the percentage is %d", percent)
	}
}
