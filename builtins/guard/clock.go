package guard

import (
	"time"

	"golang.org/x/sys/unix"
)

// moment is a time on the clock that nobody steps and that goes on while the machine is suspended. Go's own stands still then:
// a guard that was suspended between a look and a step would take the look for fresh.
type moment time.Duration

func now() moment {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &t); err != nil {
		panic(err) // every Linux has it
	}
	return moment(t.Nano())
}

func (m moment) since(earlier moment) time.Duration { return time.Duration(m - earlier) }
