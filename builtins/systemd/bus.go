package systemd

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/pgrun/pgrun/runtime/host"
)

// systemd answers on D-Bus. Asking it there takes two round trips; systemctl asks the same, and takes the machine a
// process.
const (
	privateSocket = "/run/systemd/private" // systemd's own, for root
	busSocket     = "/run/dbus/system_bus_socket"

	destination = "org.freedesktop.systemd1"
	managerPath = "/org/freedesktop/systemd1"
)

// askLimit bounds a look that has no deadline of its own.
const askLimit = time.Minute

// errSlow is why a look ended at askLimit. It is no deadline of the playbook's.
var errSlow = fmt.Errorf("no answer within %s", askLimit)

// bus is a connection to the systemd of a machine. It only looks, one call after the other.
type bus struct {
	net.Conn
	in     *bufio.Reader
	serial uint32
}

// busKey is the key under which one is kept, see host.Keeper.
type busKey struct{}

// answer is systemd's error.
type answer struct{ name, text string }

func (e *answer) Error() string {
	if e.text == "" {
		return e.name
	}
	return e.text
}

// ask runs a look on a connection that was kept, or on a new one; on a new one again where the link broke.
func ask(ctx context.Context, r host.Reader, name string, look func(b *bus) error) error {
	within, cancel := ctx, context.CancelFunc(func() {})
	if _, has := ctx.Deadline(); !has {
		within, cancel = context.WithTimeoutCause(ctx, askLimit, errSlow)
	}
	defer cancel()
	var b *bus
	if keeper, ok := r.(host.Keeper); ok {
		b, _ = keeper.Kept(busKey{}).(*bus)
	}
	for again := true; ; again = false {
		var err error
		if b == nil {
			if b, err = connect(within, r); err != nil && context.Cause(within) == errSlow {
				return fmt.Errorf("asking systemd about %s: %w", name, errSlow)
			} else if err != nil {
				return err // of the machine, which says where
			}
		}
		if err = b.use(within, r, look); err == nil {
			return nil
		}
		if cause := context.Cause(within); cause != nil {
			err = cause
		} else if said := (*answer)(nil); again && !errors.As(err, &said) && !errors.Is(err, errMalformed) {
			b = nil
			continue
		}
		return fmt.Errorf("asking systemd about %s: %w", name, err)
	}
}

// use runs a look, and keeps the connection, if it can be used again, or closes it.
func (b *bus) use(ctx context.Context, r host.Reader, look func(b *bus) error) error {
	stop := context.AfterFunc(ctx, func() { _ = b.Close() })
	err := look(b)
	said := (*answer)(nil)
	keeper, keeps := r.(host.Keeper)
	if stop() && keeps && (err == nil || errors.As(err, &said)) {
		keeper.Keep(busKey{}, b)
	} else {
		_ = b.Close()
	}
	return err
}

func connect(ctx context.Context, r host.Reader) (*bus, error) {
	socket, user := privateSocket, 0
	conn, err := r.Dial(ctx, "unix", socket, "")
	if errors.Is(err, fs.ErrPermission) { // the operator's own machine, and the operator is not root
		socket, user = busSocket, os.Geteuid()
		conn, err = r.Dial(ctx, "unix", socket, "")
	}
	switch {
	case errors.Is(err, host.ErrAbsent):
		return nil, err
	case errors.Is(err, fs.ErrNotExist) && socket == busSocket:
		return nil, host.NotThere("no D-Bus daemon runs on this machine, without which only root can ask systemd")
	case errors.Is(err, fs.ErrNotExist):
		return nil, host.NotThere("systemd does not run on this machine: its process 1 is another program")
	case err != nil:
		return nil, err
	}
	b := &bus{Conn: conn, in: bufio.NewReader(conn)}
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	err = b.authenticate(user)
	if err == nil && socket == busSocket {
		_, err = b.call(request{"org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus", "Hello", nil}, "s")
	}
	if !stop() {
		err = context.Cause(ctx)
	}
	if err != nil {
		_ = conn.Close()
		return nil, fmt.Errorf("asking systemd through %s: %w", socket, err)
	}
	return b, nil
}

// authenticate says who asks, the way sd-bus does: with all its lines at once, and nothing after them before they are
// answered. Where systemd reads a message together with the last line, BEGIN, it leaves the message lying until more comes.
func (b *bus) authenticate(user int) error {
	lines := fmt.Sprintf("\x00AUTH EXTERNAL %x\r\nNEGOTIATE_UNIX_FD\r\nBEGIN\r\n", strconv.Itoa(user))
	if _, err := io.WriteString(b, lines); err != nil {
		return err
	}
	for _, want := range []string{"OK ", ""} { // whether descriptors can be passed does not matter
		line, err := b.in.ReadSlice('\n')
		if err != nil {
			return err
		}
		if !strings.HasPrefix(string(line), want) {
			return fmt.Errorf("it did not let us in: %q", line)
		}
	}
	return nil
}

// call makes a call, and returns the body of its reply, which is of that signature. Other messages are passed over.
func (b *bus) call(r request, signature string) (*decoder, error) {
	b.serial++
	if _, err := b.Write(r.encode(b.serial)); err != nil {
		return nil, err
	}
	for {
		m, err := readMessage(b.in)
		switch {
		case err != nil:
			return nil, err
		case m.to != b.serial:
		case m.kind == errorReply:
			said := &answer{name: m.errorName}
			if strings.HasPrefix(m.signature, "s") {
				said.text = m.body.text()
			}
			return nil, said
		case m.kind == methodReturn && m.signature == signature:
			return m.body, nil
		case m.kind == methodReturn:
			return nil, fmt.Errorf("%w: a reply to %s of the type %q", errMalformed, r.member, m.signature)
		}
	}
}

// unit asks about a unit, and has systemd load it where it is not. One that does not exist is no error.
func (b *bus) unit(name string) (unit, error) {
	reply, err := b.call(request{destination, managerPath, destination + ".Manager", "LoadUnit", []any{name}}, "o")
	if err != nil {
		return unit{}, err
	}
	path := reply.text()
	if reply.err != nil {
		return unit{}, reply.err
	}
	return b.properties(name, path)
}

// loaded lists the units that systemd has loaded whose names match a pattern.
func (b *bus) loaded(pattern string) ([]unit, error) {
	reply, err := b.call(request{destination, managerPath, destination + ".Manager", "ListUnitsByPatterns", []any{[]string{}, []string{pattern}}}, "a(ssssssouso)")
	if err != nil {
		return nil, err
	}
	type found struct{ name, path string }
	var matching []found
	reply.array(func(u *decoder) {
		var f found
		f.name = u.text()
		for range 5 { // what it is for, its states, and whom it follows
			u.text()
		}
		f.path = u.text()
		u.number() // and its job
		u.text()
		u.text()
		matching = append(matching, f)
	})
	if reply.err != nil {
		return nil, reply.err
	}
	var all []unit
	for _, f := range matching {
		u, err := b.properties(f.name, f.path)
		if err != nil {
			return nil, err
		}
		all = append(all, u)
	}
	return all, nil
}

// properties reads those of a unit.
func (b *bus) properties(name, path string) (unit, error) {
	const everyInterface = ""
	reply, err := b.call(request{destination, path, "org.freedesktop.DBus.Properties", "GetAll", []any{everyInterface}}, "a{sv}")
	if err != nil {
		return unit{}, err
	}
	p := properties{}
	reply.array(func(entry *decoder) {
		name := entry.text()
		p[name] = entry.value(entry.signature())
	})
	if reply.err != nil {
		return unit{}, reply.err
	}
	u := p.unit(name)
	if u.load == "" || u.active == "" {
		return unit{}, fmt.Errorf("%w: the properties of a unit without LoadState or ActiveState", errMalformed)
	}
	return u, nil
}
