package systemd

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/godbus/dbus/v5"

	"github.com/pgrun/pgrun/runtime/host"
)

// systemd answers on D-Bus. Asking it there takes two round trips; systemctl asks the same, and takes the machine a
// process.
const (
	privateSocket = "/run/systemd/private" // systemd's own, for root
	busSocket     = "/run/dbus/system_bus_socket"

	destination = "org.freedesktop.systemd1"
	managerPath = "/org/freedesktop/systemd1"
	manager     = destination + ".Manager."
	getAll      = "org.freedesktop.DBus.Properties.GetAll"
)

// askLimit bounds a look that has no deadline of its own.
const askLimit = time.Minute

// bus is a connection to the systemd of a machine. It only looks.
type bus struct{ *dbus.Conn }

// busKey is the key under which one is kept, see host.Keeper.
type busKey struct{}

// ask runs a look on a connection that was kept, if it still serves, or on a new one.
func ask(ctx context.Context, r host.Reader, look func(ctx context.Context, b bus) error) error {
	ctx, cancel := context.WithTimeout(ctx, askLimit)
	defer cancel()
	if keeper, ok := r.(host.Keeper); ok {
		if b, ok := keeper.Kept(busKey{}).(bus); ok {
			if err := b.use(ctx, keeper, look); err == nil || ctx.Err() != nil || answered(err) {
				return err
			}
		}
	}
	b, err := connect(ctx, r)
	if err != nil {
		return err
	}
	return b.use(ctx, r, look)
}

// use runs a look, and keeps the connection, if it can be used again, or closes it.
func (b bus) use(ctx context.Context, r any, look func(ctx context.Context, b bus) error) error {
	err := look(ctx, b)
	if keeper, ok := r.(host.Keeper); ok && (err == nil || answered(err)) {
		keeper.Keep(busKey{}, b)
	} else {
		_ = b.Close()
	}
	return err
}

// answered reports whether an error is systemd's answer.
func answered(err error) bool { return errors.As(err, new(dbus.Error)) }

func connect(ctx context.Context, r host.Reader) (bus, error) {
	socket, user := privateSocket, 0
	conn, err := r.Dial(ctx, "unix", socket, "")
	if errors.Is(err, fs.ErrPermission) { // the operator's own machine, and the operator is not root
		socket, user = busSocket, os.Geteuid()
		conn, err = r.Dial(ctx, "unix", socket, "")
	}
	if errors.Is(err, fs.ErrNotExist) {
		return bus{}, errors.New("systemd does not run on this machine")
	}
	if err != nil {
		return bus{}, err
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	b, err := speak(conn, user)
	if err == nil && socket == busSocket {
		err = b.Hello()
	}
	if !stop() {
		err = context.Cause(ctx)
	}
	if err != nil {
		_ = conn.Close()
		return bus{}, fmt.Errorf("asking systemd through %s: %w", socket, err)
	}
	return b, nil
}

// speak begins the conversation.
func speak(conn net.Conn, user int) (bus, error) {
	in := bufio.NewReader(conn)
	if err := authenticate(conn, in, user); err != nil {
		return bus{}, err
	}
	b, err := dbus.NewConn(&authenticated{Conn: conn, in: io.MultiReader(strings.NewReader(welcome), &replies{in: in})})
	if err != nil {
		return bus{}, err
	}
	if err := b.Auth([]dbus.Auth{dbus.AuthExternal("")}); err != nil {
		_ = b.Close()
		return bus{}, err
	}
	return bus{b}, nil
}

// authenticate says who asks, the way sd-bus does: with all its lines at once, and nothing after them before they are
// answered. The library would send its first message right after the last line, BEGIN, and systemd, where it reads both
// together, leaves the message lying until more comes.
func authenticate(conn net.Conn, in *bufio.Reader, user int) error {
	lines := fmt.Sprintf("\x00AUTH EXTERNAL %x\r\nNEGOTIATE_UNIX_FD\r\nBEGIN\r\n", strconv.Itoa(user))
	if _, err := io.WriteString(conn, lines); err != nil {
		return err
	}
	for _, want := range []string{"OK ", ""} { // whether descriptors can be passed does not matter
		line, err := in.ReadSlice('\n')
		if err != nil {
			return err
		}
		if !strings.HasPrefix(string(line), want) {
			return fmt.Errorf("it did not let us in: %q", line)
		}
	}
	return nil
}

// authenticated is a connection past its authentication, for a library that begins each with one.
type authenticated struct {
	net.Conn
	in    io.Reader // welcome, and then the connection
	begun bool
}

// welcome is what the library expects to be told.
const welcome = "REJECTED EXTERNAL\r\nOK 0\r\n"

func (a *authenticated) Read(p []byte) (int, error) { return a.in.Read(p) }

func (a *authenticated) Write(p []byte) (int, error) {
	if !a.begun {
		a.begun = string(p) == "BEGIN\r\n"
		return len(p), nil
	}
	return a.Conn.Write(p)
}

// maxMessage is the longest reply that is read. The properties of a unit are some 25 KiB.
const maxMessage = 1 << 20

// replies reads D-Bus messages, and lets through only replies of a bounded length: the machine may be hostile, and the
// library would allocate what a message says of its length, and start a goroutine for each call that comes.
type replies struct {
	in   *bufio.Reader
	left int // bytes of the message that is let through
}

func (r *replies) Read(p []byte) (int, error) {
	for r.left == 0 {
		const fixed = 16 // byte order, type, flags, version, length of the body, serial, length of the fields
		head, err := r.in.Peek(fixed)
		if err != nil {
			return 0, err
		}
		var order binary.ByteOrder = binary.LittleEndian
		if head[0] == 'B' {
			order = binary.BigEndian
		}
		body, fields := order.Uint32(head[4:]), order.Uint32(head[12:])
		if body > maxMessage || fields > maxMessage {
			return 0, fmt.Errorf("systemd sent what is no reply: %q", head)
		}
		length := fixed + int(fields+7)/8*8 + int(body)
		switch dbus.Type(head[1]) {
		case dbus.TypeMethodReply, dbus.TypeError:
			r.left = length
		default:
			if _, err := r.in.Discard(length); err != nil {
				return 0, err
			}
		}
	}
	n, err := r.in.Read(p[:min(len(p), r.left)])
	r.left -= n
	return n, err
}

// unit asks about a unit, and has systemd load it where it is not. One that does not exist is no error.
func (b bus) unit(ctx context.Context, name string) (unit, error) {
	var path dbus.ObjectPath
	if err := b.Object(destination, managerPath).CallWithContext(ctx, manager+"LoadUnit", 0, name).Store(&path); err != nil {
		return unit{}, fmt.Errorf("asking systemd for %s: %w", name, err)
	}
	return b.properties(ctx, name, path)
}

// loaded lists the units that systemd has loaded whose names match a pattern.
func (b bus) loaded(ctx context.Context, pattern string) ([]unit, error) {
	var found []struct {
		Name, Description, Load, Active, Sub, Following string
		Path                                            dbus.ObjectPath
		JobID                                           uint32
		JobType                                         string
		JobPath                                         dbus.ObjectPath
	}
	call := b.Object(destination, managerPath).CallWithContext(ctx, manager+"ListUnitsByPatterns", 0, []string{}, []string{pattern})
	if err := call.Store(&found); err != nil {
		return nil, fmt.Errorf("asking systemd for %s: %w", pattern, err)
	}
	var all []unit
	for _, f := range found {
		u, err := b.properties(ctx, f.Name, f.Path)
		if err != nil {
			return nil, err
		}
		all = append(all, u)
	}
	return all, nil
}

func (b bus) properties(ctx context.Context, name string, path dbus.ObjectPath) (unit, error) {
	p := properties{}
	const everyInterface = ""
	if err := b.Object(destination, path).CallWithContext(ctx, getAll, 0, everyInterface).Store(&p); err != nil {
		return unit{}, fmt.Errorf("asking systemd how %s is: %w", name, err)
	}
	return p.unit(name), nil
}
