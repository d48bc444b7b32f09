package systemd

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
)

// The part of D-Bus that asking systemd takes: calls with strings, and their replies. The machine may be hostile: a
// message is read whole, of a bounded length, before anything in it is believed, and what does not fit in it is an error.
// (https://dbus.freedesktop.org/doc/dbus-specification.html)

// The properties of a unit are some 25 KiB, and its longest texts are paths.
const (
	maxMessage = 1 << 20 // the longest message that is read
	maxText    = 4 << 10 // what is more of a text is cut off
)

// The types of messages.
const (
	methodCall   = 1
	methodReturn = 2
	errorReply   = 3
)

// The header fields that are used here.
const (
	fieldPath        = 1
	fieldInterface   = 2
	fieldMember      = 3
	fieldErrorName   = 4
	fieldReplySerial = 5
	fieldDestination = 6
	fieldSignature   = 8
)

var (
	errMalformed = errors.New("its answer is no message of D-Bus")
	errTooMuch   = errors.New("it answers more than systemd would")
)

// request is a method call.
type request struct {
	destination, path, iface, member string
	args                             []any // strings and lists of strings
}

func (r request) encode(serial uint32) []byte {
	var e encoder
	signature := ""
	for _, arg := range r.args {
		switch arg := arg.(type) {
		case string:
			signature += "s"
			e.text(arg)
		case []string:
			signature += "as"
			var list encoder
			for _, s := range arg {
				list.text(s)
			}
			e.number(uint32(len(list)))
			e = append(e, list...)
		}
	}
	body := e

	e = encoder{'l', methodCall, 0, 1}
	e.number(uint32(len(body)))
	e.number(serial)
	fields := len(e)
	e.number(0) // the length of the fields, known below
	for _, f := range []struct {
		code  byte
		kind  string
		value string
	}{
		{fieldPath, "o", r.path}, {fieldDestination, "s", r.destination}, {fieldInterface, "s", r.iface}, {fieldMember, "s", r.member},
		{fieldSignature, "g", signature},
	} {
		if f.value == "" {
			continue
		}
		e.align(8)
		e = append(e, f.code, 1, f.kind[0], 0)
		if f.kind == "g" {
			e = append(append(append(e, byte(len(f.value))), f.value...), 0)
		} else {
			e.text(f.value)
		}
	}
	binary.LittleEndian.PutUint32(e[fields:], uint32(len(e)-fields-4))
	e.align(8)
	return append(e, body...)
}

// encoder appends values, little-endian.
type encoder []byte

func (e *encoder) align(n int) {
	for len(*e)%n != 0 {
		*e = append(*e, 0)
	}
}

func (e *encoder) number(n uint32) {
	e.align(4)
	*e = binary.LittleEndian.AppendUint32(*e, n)
}

func (e *encoder) text(s string) {
	e.number(uint32(len(s)))
	*e = append(append(*e, s...), 0)
}

// message is one that came.
type message struct {
	kind   byte
	to     uint32 // the serial of the call that it answers
	fields map[byte]string
	body   *decoder
}

// readMessage reads the next message.
func readMessage(in *bufio.Reader) (message, error) {
	const fixed = 16 // byte order, type, flags, version, length of the body, serial, length of the fields
	head := make([]byte, fixed)
	if _, err := io.ReadFull(in, head); err != nil {
		return message{}, err
	}
	var order binary.ByteOrder
	switch head[0] {
	case 'l':
		order = binary.LittleEndian
	case 'B':
		order = binary.BigEndian
	default:
		return message{}, errMalformed
	}
	bodyLength, fieldsLength := order.Uint32(head[4:]), order.Uint32(head[12:])
	if bodyLength > maxMessage || fieldsLength > maxMessage {
		return message{}, fmt.Errorf("%w: a message of more than %d bytes", errTooMuch, maxMessage)
	}
	rest := make([]byte, (fieldsLength+7)/8*8+bodyLength)
	if _, err := io.ReadFull(in, rest); err != nil {
		return message{}, err
	}
	m := message{kind: head[1], fields: map[byte]string{}, body: &decoder{order: order, rest: rest[len(rest)-int(bodyLength):]}}
	d := &decoder{order: order, rest: rest[:fieldsLength]} // which begin at a multiple of 8, as the body does
	for len(d.rest) > 0 {
		d.align(8)
		code, signature := d.byte(), d.signature()
		switch {
		case signature == "s" || signature == "o":
			m.fields[code] = d.text()
		case signature == "g":
			m.fields[code] = d.signature()
		case signature == "u" && code == fieldReplySerial:
			m.to = d.number()
		default:
			d.skip(signature)
		}
		if d.err != nil {
			return message{}, d.err
		}
	}
	return m, nil
}

// decoder takes values from a message. After a mistake all that follows is zero.
type decoder struct {
	order binary.ByteOrder
	rest  []byte
	at    int // how much was taken before
	err   error
}

// take returns the next n bytes.
func (d *decoder) take(n int) []byte {
	if d.err != nil || n < 0 || n > len(d.rest) {
		d.err = errMalformed
		d.rest = nil
		return make([]byte, min(max(n, 0), 8))
	}
	p := d.rest[:n]
	d.rest = d.rest[n:]
	d.at += n
	return p
}

func (d *decoder) align(n int) { d.take((n - d.at%n) % n) }

func (d *decoder) byte() byte { return d.take(1)[0] }

func (d *decoder) number() uint32 {
	d.align(4)
	return d.order.Uint32(d.take(4))
}

func (d *decoder) long() uint64 {
	d.align(8)
	return d.order.Uint64(d.take(8))
}

// length is that of a text or an array.
func (d *decoder) length() int {
	n := d.number()
	if n > math.MaxInt32 {
		d.take(-1)
		return 0
	}
	return int(n)
}

func (d *decoder) text() string {
	n := d.length()
	s := d.take(n)
	d.take(1)
	if d.err != nil {
		return ""
	}
	return string(s[:min(len(s), maxText)])
}

// texts takes an array of texts.
func (d *decoder) texts() (all []string) {
	elements := &decoder{order: d.order, rest: d.take(d.length())}
	for d.err == nil && len(elements.rest) > 0 {
		all = append(all, elements.text())
		d.err = elements.err
	}
	return all
}

func (d *decoder) signature() string {
	s := d.take(int(d.byte()))
	d.take(1)
	if d.err != nil {
		return ""
	}
	return string(s)
}

// array calls each for every element of an array whose elements are aligned at 8, which takes it.
func (d *decoder) array(each func(element *decoder)) {
	n := d.length()
	d.align(8)
	elements := &decoder{order: d.order, rest: d.take(n)}
	for d.err == nil && len(elements.rest) > 0 {
		elements.align(8)
		each(elements)
		d.err = elements.err
	}
}

// value takes a value of a type that a unit's properties have, or passes over another and returns nil.
func (d *decoder) value(signature string) any {
	switch signature {
	case "s", "o":
		return d.text()
	case "b":
		return d.number() != 0
	case "u":
		return d.number()
	case "i":
		return int32(d.number())
	case "t":
		return d.long()
	case "as":
		return d.texts()
	}
	d.skip(signature)
	return nil
}

// maxDepth bounds types within types; D-Bus allows 32 of arrays, and as many of structs.
const maxDepth = 64

// skip passes over one value of a type.
func (d *decoder) skip(signature string) {
	if rest := d.skipOne(signature, 0); rest != "" {
		d.take(-1)
	}
}

// skipOne passes over a value of the first type of a signature, and returns the others.
func (d *decoder) skipOne(signature string, depth int) (others string) {
	if d.err != nil || signature == "" || depth > maxDepth {
		d.take(-1)
		return ""
	}
	kind, others := signature[0], signature[1:]
	switch kind {
	case 'y':
		d.take(1)
	case 'n', 'q':
		d.align(2)
		d.take(2)
	case 'b', 'i', 'u', 'h':
		d.number()
	case 'x', 't', 'd':
		d.long()
	case 's', 'o':
		d.text()
	case 'g':
		d.signature()
	case 'v':
		d.skipOne(d.signature(), depth+1)
	case 'a':
		n := d.length()
		if strings.IndexByte("xtd({", first(others)) >= 0 {
			d.align(8)
		}
		d.take(n)
		return afterType(others, depth)
	case '(', '{':
		d.align(8)
		for others != "" && others[0] != ')' && others[0] != '}' {
			others = d.skipOne(others, depth+1)
		}
		if others == "" {
			d.take(-1)
			return ""
		}
		return others[1:]
	default:
		d.take(-1)
	}
	return others
}

func first(signature string) byte {
	if signature == "" {
		return 0
	}
	return signature[0]
}

// afterType is a signature without its first type.
func afterType(signature string, depth int) string {
	switch kind := first(signature); {
	case kind == 0 || depth > maxDepth:
		return ""
	case kind == 'a':
		return afterType(signature[1:], depth+1)
	case kind == '(' || kind == '{':
		for signature = signature[1:]; signature != "" && signature[0] != ')' && signature[0] != '}'; {
			signature = afterType(signature, depth+1)
		}
		if signature == "" {
			return ""
		}
	}
	return signature[1:]
}
