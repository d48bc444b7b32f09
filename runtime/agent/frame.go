package agent

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
)

// preamble is what an agent sends before its first frame. It begins with a byte that no program
// prints by accident.
const preamble = "\x00pgrun1\n"

const (
	maxHead = 1 << 20  // bytes in a hello, request or reply
	maxData = 64 << 10 // bytes in a data frame

	headerSize = 4 + 4 + 1 // payload length, stream, kind; numbers big-endian
)

// kind says what a frame is.
type kind byte

const (
	kindHello   kind = 1 + iota // agent, stream 0, once: hello
	kindRequest                 // client: request, opens the stream
	kindAccept                  // agent: the connection asked for stands; data may flow
	kindData                    // either: raw bytes
	kindEnd                     // either: no more data from this side
	kindCredit                  // either: 4 bytes, how many more bytes the receiver takes
	kindReply                   // agent: reply, ends the stream
	kindCancel                  // client: end the stream's work; its reply still comes
	kindPing                    // client, stream 0
	kindPong                    // agent, stream 0
)

// limit is the longest payload of a frame of this kind, or -1 where there is no such kind.
func (k kind) limit() int {
	switch k {
	case kindHello, kindRequest, kindReply:
		return maxHead
	case kindData:
		return maxData
	case kindCredit:
		return 4
	case kindAccept, kindEnd, kindCancel, kindPing, kindPong:
		return 0
	}
	return -1
}

// frame is one message.
type frame struct {
	kind    kind
	stream  uint32
	payload []byte
}

// encode appends the frame's bytes to dst.
func (f frame) encode(dst []byte) []byte {
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(f.payload)))
	dst = binary.BigEndian.AppendUint32(dst, f.stream)
	dst = append(dst, byte(f.kind))
	return append(dst, f.payload...)
}

// credit reads the payload of a kindCredit frame.
func (f frame) credit() (int, error) {
	if len(f.payload) != 4 {
		return 0, fmt.Errorf("a credit of %d bytes, want 4", len(f.payload))
	}
	return int(binary.BigEndian.Uint32(f.payload)), nil
}

// readFrame reads one frame. The payload is a fresh slice. io.EOF means that the stream ended between
// two frames; any other error that it broke or that what came is no frame.
func readFrame(r *bufio.Reader) (frame, error) {
	header, err := r.Peek(headerSize)
	if err != nil {
		if err == io.EOF && len(header) > 0 {
			err = io.ErrUnexpectedEOF
		}
		return frame{}, err
	}
	length := binary.BigEndian.Uint32(header)
	f := frame{stream: binary.BigEndian.Uint32(header[4:]), kind: kind(header[8])}
	if limit := f.kind.limit(); limit < 0 || length > uint32(limit) {
		return frame{}, fmt.Errorf("what came is no frame: %s", sample(r))
	}
	if _, err := r.Discard(headerSize); err != nil {
		return frame{}, err
	}
	if length > 0 {
		f.payload = make([]byte, length)
		if _, err := io.ReadFull(r, f.payload); err != nil {
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return frame{}, err
		}
	}
	return f, nil
}

// sample shows the bytes that wait in r, quoted and bounded, for an error about them.
func sample(r *bufio.Reader) string {
	const most = 256
	b, _ := r.Peek(min(most, r.Buffered()))
	if r.Buffered() > most {
		return fmt.Sprintf("%q and more", b)
	}
	return fmt.Sprintf("%q", b)
}
