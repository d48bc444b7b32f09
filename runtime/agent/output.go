package agent

// output keeps the head and the tail of what a command prints: size bytes at most. It never fails and
// never blocks, so that a command that prints without end runs on.
type output struct {
	size    int
	head    []byte // the first size/2 bytes
	tail    []byte // a ring of the last size/2, once head is full
	next    int    // where the ring goes on
	dropped int64
}

func (o *output) Write(p []byte) (int, error) {
	n := len(p)
	if room := o.size/2 - len(o.head); room > 0 {
		k := min(room, len(p))
		o.head = append(o.head, p[:k]...)
		p = p[k:]
	}
	ring := o.size - o.size/2
	if over := len(p) - ring; over > 0 {
		// These bytes would be overwritten by the rest of p.
		o.dropped += int64(over)
		p = p[over:]
	}
	if room := ring - len(o.tail); room > 0 {
		k := min(room, len(p))
		o.tail = append(o.tail, p[:k]...)
		p = p[k:]
	}
	for len(p) > 0 {
		k := copy(o.tail[o.next:], p)
		o.next = (o.next + k) % len(o.tail)
		o.dropped += int64(k)
		p = p[k:]
	}
	return n, nil
}

// bytes returns what was kept, in order.
func (o *output) bytes() []byte {
	b := make([]byte, 0, len(o.head)+len(o.tail))
	b = append(b, o.head...)
	b = append(b, o.tail[o.next:]...)
	return append(b, o.tail[:o.next]...)
}
