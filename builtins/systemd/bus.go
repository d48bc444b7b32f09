package systemd

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"strings"
	"syscall"
	"time"

	"github.com/pgrun/pgrun/runtime/host"
)

// systemd answers on D-Bus. Asking it there takes a round trip once it is connected to; systemctl asks the same, and
// takes the machine a process.
const (
	privateSocket = "/run/systemd/private" // systemd's own, for root
	busSocket     = "/run/dbus/system_bus_socket"

	destination = "org.freedesktop.systemd1"
	managerPath = "/org/freedesktop/systemd1"
)

const (
	askLimit    = time.Minute      // bounds a look that has no deadline
	listenLimit = 10 * time.Second // how long systemd may be without its socket
	maxLook     = 64 << 20         // the most bytes that are read for one look
)

// errSlow is why a look ended at askLimit. It is no deadline of the playbook's.
var errSlow = fmt.Errorf("no answer within %s", askLimit)

// bus is a connection to the systemd of a machine. It only looks.
type bus struct {
	net.Conn
	public  bool // the bus of all, and not systemd's own
	greeted bool // it has let us in
	in      *bufio.Reader
	left    int    // how many bytes the look may still read
	out     []byte // calls that are ready
	serial  uint32
}

// keepLimit is how long a connection is kept that no look takes.
const keepLimit = 3 * time.Second

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

// ask runs a look on a connection that was kept, or on a new one; on a new one again where the link broke. The look
// ends after a builtin's timeout; 0 is none.
func ask(ctx context.Context, r host.Reader, name string, timeout time.Duration, look func(b *bus) error) error {
	within, cancel := bounded(ctx, timeout)
	defer cancel()
	var b *bus
	if keeper, ok := r.(host.Keeper); ok {
		b, _ = keeper.Kept(busKey{}).(*bus)
	}
	for again := true; ; again = false {
		var err error
		if b == nil {
			if b, err = connect(within, r); err != nil {
				if cause := context.Cause(within); cause != nil {
					err = fmt.Errorf("asking systemd about %s: %w (%v)", name, cause, err)
				}
				return err // else of the machine, which says where
			}
		}
		if err = b.use(within, r, look); err == nil {
			return nil
		}
		if cause := context.Cause(within); cause != nil {
			err = cause
		} else if said := (*answer)(nil); again && !errors.As(err, &said) && !errors.Is(err, errMalformed) && !errors.Is(err, errTooMuch) {
			b = nil
			continue
		}
		return fmt.Errorf("asking systemd about %s: %w", name, err)
	}
}

// bounded ends a look in any case: where neither the builtin nor the playbook says when, at askLimit.
func bounded(ctx context.Context, timeout time.Duration) (context.Context, context.CancelFunc) {
	if timeout > 0 {
		return context.WithTimeoutCause(ctx, timeout, fmt.Errorf("no answer within %s (timeout): %w", timeout, context.DeadlineExceeded))
	}
	if _, has := ctx.Deadline(); has {
		return ctx, func() {}
	}
	return context.WithTimeoutCause(ctx, askLimit, errSlow)
}

// use runs a look, and keeps the connection, if it can be used again, or closes it.
func (b *bus) use(ctx context.Context, r host.Reader, look func(b *bus) error) error {
	stop := context.AfterFunc(ctx, func() { _ = b.Close() })
	b.left = maxLook
	err := b.greet()
	if err == nil {
		err = look(b)
	}
	said := (*answer)(nil)
	keeper, keeps := r.(host.Keeper)
	if stop() && keeps && b.greeted && (err == nil || errors.As(err, &said)) {
		keeper.Keep(busKey{}, b, keepLimit)
	} else {
		_ = b.Close()
	}
	return err
}

// Read is that of net.Conn, as far as the look may go on.
func (b *bus) Read(p []byte) (int, error) {
	if b.left == 0 {
		return 0, fmt.Errorf("%w: %d bytes for one look", errTooMuch, maxLook)
	}
	n, err := b.Conn.Read(p[:min(len(p), b.left)])
	b.left -= n
	return n, err
}

func connect(ctx context.Context, r host.Reader) (*bus, error) {
	conn, err := dial(ctx, r)
	public := errors.Is(err, fs.ErrPermission) // the operator's own machine, and the operator is not root
	if public {
		conn, err = r.Dial(ctx, "unix", busSocket, "")
		if errors.Is(err, fs.ErrNotExist) {
			err = host.NotThere("no D-Bus daemon runs on this machine, without which only root can ask systemd")
		}
	}
	if err != nil {
		return nil, err
	}
	b := &bus{Conn: conn, public: public}
	b.in = bufio.NewReader(b)
	return b, nil
}

// dial connects to systemd's own socket, which is not there yet while a machine boots, and for a moment when systemd
// executes itself again (systemctl daemon-reexec).
func dial(ctx context.Context, r host.Reader) (net.Conn, error) {
	for began := time.Now(); ; {
		conn, err := r.Dial(ctx, "unix", privateSocket, "")
		if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ECONNREFUSED) {
			return conn, err
		}
		facts, factsErr := r.Facts(ctx)
		switch {
		case factsErr != nil:
			return nil, factsErr
		case facts.Init != "systemd":
			return nil, host.NotThere("systemd does not run on this machine: its process 1 is another program")
		case time.Since(began) > listenLimit:
			return nil, fmt.Errorf("systemd has not listened for %s, though it is the machine's process 1: see what it prints at its console (%v)", listenLimit, err)
		}
		if err := host.Pause(ctx, 100*time.Millisecond); err != nil {
			return nil, err
		}
	}
}

// greet has the kernel say who asks, where that is not done, the way sd-bus does: with all lines at once, and nothing
// after them before they are answered. Where systemd reads a message together with the last line, BEGIN, it leaves the
// message lying until more comes.
func (b *bus) greet() error {
	if b.greeted {
		return nil
	}
	if _, err := io.WriteString(b, "\x00AUTH EXTERNAL\r\nDATA\r\nBEGIN\r\n"); err != nil {
		return err
	}
	for _, want := range []string{"DATA", "OK "} {
		line, err := b.in.ReadSlice('\n')
		if err != nil {
			return err
		}
		if !strings.HasPrefix(string(line), want) {
			return fmt.Errorf("it did not let us in: %q", line)
		}
	}
	if b.public {
		if _, err := b.call(request{"org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus", "Hello", nil}, "s"); err != nil {
			return err
		}
	}
	b.greeted = true
	return nil
}

// call makes a call, and returns the body of its reply, which is of that signature.
func (b *bus) call(r request, signature string) (*decoder, error) {
	return b.reply(b.ready(r), signature)
}

// ready has a call sent together with others, when the first of their replies is waited for.
func (b *bus) ready(r request) (serial uint32) {
	b.serial++
	b.out = append(b.out, r.encode(b.serial)...)
	return b.serial
}

// reply returns the body of the reply to a call, which is of that signature. Other messages are passed over.
func (b *bus) reply(serial uint32, signature string) (*decoder, error) {
	if len(b.out) > 0 {
		if _, err := b.Write(b.out); err != nil {
			return nil, err
		}
		b.out = nil
	}
	for {
		m, err := readMessage(b.in)
		switch {
		case err != nil:
			return nil, err
		case m.to != serial:
		case m.kind == errorReply:
			said := &answer{name: m.fields[fieldErrorName]}
			if strings.HasPrefix(m.fields[fieldSignature], "s") {
				said.text = m.body.text()
			}
			if said.name == "" {
				return nil, fmt.Errorf("%w: an error without a name", errMalformed)
			}
			return nil, said
		case m.kind == methodReturn && m.fields[fieldSignature] == signature:
			return m.body, nil
		case m.kind == methodReturn:
			return nil, fmt.Errorf("%w: a reply of the type %q, and not %q", errMalformed, m.fields[fieldSignature], signature)
		}
	}
}

// unit asks about a unit, which systemd loads where it is not. One that does not exist is no error. Of a template only
// the state of its file is known.
//
// That state is asked for, for the property UnitFileState is what systemd found when it first was asked, and may be
// of an older time.
func (b *bus) unit(name string) (unit, error) {
	state := b.ready(fileState(name))
	if isTemplate(name) {
		file, err := b.file(state)
		return unit{name: name, file: file}, err
	}
	const everyInterface = ""
	all := b.ready(request{destination, unitPath(name), "org.freedesktop.DBus.Properties", "GetAll", []any{everyInterface}})
	file, err := b.file(state)
	if err != nil {
		return unit{}, err
	}
	reply, err := b.reply(all, "a{sv}")
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
	if u.file = file; file == "alias" { // which does not say whether the unit that it stands for is enabled
		u.file, err = b.file(b.ready(fileState(u.id)))
	}
	return u, err
}

func fileState(name string) request {
	return request{destination, managerPath, destination + ".Manager", "GetUnitFileState", []any{name}}
}

// file returns the state of a unit's file; empty where it has none.
func (b *bus) file(serial uint32) (string, error) {
	reply, err := b.reply(serial, "s")
	if said := (*answer)(nil); errors.As(err, &said) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	state := reply.text()
	return state, reply.err
}

// unitPath is where a unit is on the bus, see sd_bus_path_encode(3).
func unitPath(name string) string {
	path := managerPath + "/unit/"
	for i, c := range []byte(name) {
		if 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || i > 0 && '0' <= c && c <= '9' {
			path += string(rune(c))
		} else {
			path += fmt.Sprintf("_%02x", c)
		}
	}
	return path
}

// instances asks about those of a template that systemd has loaded.
func (b *bus) instances(template string) ([]unit, error) {
	before, after, _ := strings.Cut(template, "@")
	pattern := before + "@*" + after // a backslash means itself there
	reply, err := b.call(request{destination, managerPath, destination + ".Manager", "ListUnitsByPatterns", []any{[]string{}, []string{pattern}}}, "a(ssssssouso)")
	if err != nil {
		return nil, err
	}
	var names []string
	reply.array(func(u *decoder) {
		name := u.text()
		for range 6 { // what it is for, its states, whom it follows and where it is
			u.text()
		}
		u.number() // and its job
		u.text()
		u.text()
		if templateOf(name) == template {
			names = append(names, name)
		}
	})
	if reply.err != nil {
		return nil, reply.err
	}
	var all []unit
	for _, name := range names {
		u, err := b.unit(name)
		if err != nil {
			return nil, err
		}
		all = append(all, u)
	}
	return all, nil
}
