package report

import (
	"fmt"
	"io"
	"sync"
	"time"
)

// liveLine is the line at the bottom of a terminal that says what goes on: the task, how many hosts have done
// it, for how long it has run. A goroutine of its own keeps the time moving.
type liveLine struct {
	w     io.Writer
	width func() int // nil where there is no terminal

	mu      sync.Mutex
	drawn   bool
	play    Play
	started time.Time
	at      map[string]int // the task each host is in
	done    map[int]int    // hosts that have ended a task
	left    int            // hosts that have left the play
	stop    chan struct{}
}

func (l *liveLine) begin(p Play) {
	if l.width == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.play, l.at, l.done, l.left = p, map[string]int{}, map[int]int{}, 0
	if l.stop == nil {
		l.started, l.stop = time.Now(), make(chan struct{})
		go l.tick(l.stop)
	}
}

func (l *liveLine) tick(stop chan struct{}) {
	ticker := time.NewTicker(200 * time.Millisecond)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			l.mu.Lock()
			l.redraw()
			l.mu.Unlock()
		case <-stop:
			return
		}
	}
}

func (l *liveLine) start(r TaskRef) {
	if l.width == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.at[r.Host] = r.Task
}

func (l *liveLine) end(r TaskResult) {
	if l.width == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.at, r.Host)
	if final(r.Status) {
		l.left++
	} else {
		l.done[r.Task]++
	}
}

func (l *liveLine) clear() {
	if l.width == nil {
		return
	}
	l.mu.Lock()
	l.erase()
}

// draw ends what clear began: nobody else writes in between.
func (l *liveLine) draw() {
	if l.width == nil {
		return
	}
	l.redraw()
	l.mu.Unlock()
}

func (l *liveLine) finish() {
	if l.width == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.erase()
	if l.stop != nil {
		close(l.stop)
		l.stop, l.at = nil, nil
	}
}

func (l *liveLine) erase() {
	if l.drawn {
		_, _ = io.WriteString(l.w, "\r\x1b[K")
		l.drawn = false
	}
}

// redraw writes the line for the task that is furthest behind, what matters most first: how many hosts have
// done it, and for how long the run has gone on.
func (l *liveLine) redraw() {
	if l.stop == nil || len(l.at) == 0 {
		return
	}
	behind := len(l.play.Tasks)
	for _, task := range l.at {
		behind = min(behind, task)
	}
	line := fmt.Sprintf("%d/%d  %s  %s: %s", l.done[behind], len(l.play.Hosts)-l.left, time.Since(l.started).Round(100*time.Millisecond),
		l.play.Name, l.play.Tasks[behind])
	runes, width := []rune(printable(line)), l.width()
	l.erase()
	_, _ = io.WriteString(l.w, string(runes[:min(len(runes), max(0, width-1))]))
	l.drawn = true
}
