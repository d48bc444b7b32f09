// Package collect puts off the garbage collection of a process that mostly ends before it needs one.
package collect

import (
	"math"
	"os"
	"runtime"
	"runtime/debug"
)

// After has no garbage collected before the process has so many bytes of memory, and from then on as usual. An operator's GOGC or GOMEMLIMIT
// goes first.
func After(bytes int64) {
	if os.Getenv("GOGC") != "" || os.Getenv("GOMEMLIMIT") != "" {
		return
	}
	percent := debug.SetGCPercent(-1)
	debug.SetMemoryLimit(bytes)
	first := new([16]byte)
	runtime.AddCleanup(first, func(percent int) {
		debug.SetGCPercent(percent)
		debug.SetMemoryLimit(math.MaxInt64)
	}, percent)
}
