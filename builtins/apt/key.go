package apt

import (
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// This file reads just so much of OpenPGP (RFC 9580, before it RFC 4880) as it takes to say which keys a
// file holds, so that neither the machine nor the operator needs GnuPG. Signatures are APT's business.

// publicKeys is a file of OpenPGP public keys.
type publicKeys struct {
	content      string
	packets      []byte
	armored      bool
	fingerprints []string // of the primary keys, in upper-case hexadecimal
}

// parseKeys reads a file of public keys, armored or binary.
func parseKeys(content string) (publicKeys, error) {
	k := publicKeys{content: content, packets: []byte(content)}
	if strings.Contains(content, "-----BEGIN PGP ") {
		var err error
		if k.packets, err = dearmor(content); err != nil {
			return k, err
		}
		k.armored = true
	}
	for packets := k.packets; len(packets) > 0; {
		tag, body, rest, err := nextPacket(packets)
		if err != nil {
			return k, err
		}
		switch tag {
		case 5, 7:
			return k, errors.New("it holds a private key: export the public one alone")
		case 6:
			fingerprint, err := fingerprint(body)
			if err != nil {
				return k, err
			}
			k.fingerprints = append(k.fingerprints, fingerprint)
		}
		packets = rest
	}
	if len(k.fingerprints) == 0 {
		return k, errors.New("it holds no OpenPGP public key")
	}
	return k, nil
}

// dearmor returns the packets of all armored public key blocks in a text (RFC 9580, 6.2).
func dearmor(text string) ([]byte, error) {
	const begin, end = "-----BEGIN PGP PUBLIC KEY BLOCK-----", "-----END PGP PUBLIC KEY BLOCK-----"
	var packets []byte
	text = strings.ReplaceAll(text, "\r\n", "\n")
	for {
		_, rest, ok := strings.Cut(text, begin)
		if !ok {
			break
		}
		block, rest, ok := strings.Cut(rest, end)
		if !ok {
			return nil, errors.New("an armored key without its last line: is it cut off?")
		}
		_, body, ok := strings.Cut(block, "\n\n") // after headers such as Version:
		if !ok {
			return nil, errors.New("an armored key without the empty line before its data")
		}
		var data strings.Builder
		for line := range strings.Lines(body) {
			if line = strings.TrimSpace(line); !strings.HasPrefix(line, "=") { // the checksum
				data.WriteString(line)
			}
		}
		decoded, err := base64.StdEncoding.DecodeString(data.String())
		if err != nil {
			return nil, fmt.Errorf("an armored key that is not base64: %w", err)
		}
		packets = append(packets, decoded...)
		text = rest
	}
	if len(packets) == 0 {
		return nil, errors.New("it holds no OpenPGP public key")
	}
	return packets, nil
}

// armor is the other direction: one block, with nothing beside it.
func armor(packets []byte) string {
	var b strings.Builder
	b.WriteString("-----BEGIN PGP PUBLIC KEY BLOCK-----\n\n")
	for line := range slices.Chunk([]byte(base64.StdEncoding.EncodeToString(packets)), 64) {
		b.Write(line)
		b.WriteByte('\n')
	}
	sum := crc24(packets)
	fmt.Fprintf(&b, "=%s\n", base64.StdEncoding.EncodeToString([]byte{byte(sum >> 16), byte(sum >> 8), byte(sum)}))
	b.WriteString("-----END PGP PUBLIC KEY BLOCK-----\n")
	return b.String()
}

// crc24 is the checksum of armored data (RFC 4880, 6.1).
func crc24(data []byte) uint32 {
	crc := uint32(0xb704ce)
	for _, b := range data {
		crc ^= uint32(b) << 16
		for range 8 {
			if crc <<= 1; crc&0x1000000 != 0 {
				crc ^= 0x1864cfb
			}
		}
	}
	return crc & 0xffffff
}

// nextPacket splits off the first packet (RFC 9580, 4.2).
func nextPacket(b []byte) (tag byte, body, rest []byte, err error) {
	damaged := errors.New("it is no OpenPGP key, or a damaged one")
	if len(b) < 2 || b[0]&0x80 == 0 {
		return 0, nil, nil, damaged
	}
	var length, header int
	if b[0]&0x40 != 0 {
		tag = b[0] & 0x3f
		switch first := int(b[1]); {
		case first < 192:
			length, header = first, 2
		case first < 224 && len(b) > 2:
			length, header = (first-192)<<8+int(b[2])+192, 3
		case first == 255 && len(b) > 5:
			length, header = int(b[2])<<24|int(b[3])<<16|int(b[4])<<8|int(b[5]), 6
		default: // a partial length, which no key may have
			return 0, nil, nil, damaged
		}
	} else {
		tag = b[0] >> 2 & 0x0f
		size := 1 << (b[0] & 3)
		if size > 4 || len(b) < 1+size {
			return 0, nil, nil, damaged
		}
		for _, x := range b[1 : 1+size] {
			length = length<<8 | int(x)
		}
		header = 1 + size
	}
	if length < 0 || length > len(b)-header {
		return 0, nil, nil, damaged
	}
	return tag, b[header : header+length], b[header+length:], nil
}

// fingerprint is that of a public key packet (RFC 9580, 5.5.4).
func fingerprint(body []byte) (string, error) {
	if len(body) < 6 {
		return "", errors.New("a key that is cut off")
	}
	n := len(body)
	switch body[0] {
	case 4:
		sum := sha1.Sum(slices.Concat([]byte{0x99, byte(n >> 8), byte(n)}, body))
		return strings.ToUpper(hex.EncodeToString(sum[:])), nil
	case 6:
		sum := sha256.Sum256(slices.Concat([]byte{0x9b, byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)}, body))
		return strings.ToUpper(hex.EncodeToString(sum[:])), nil
	}
	return "", fmt.Errorf("a key of version %d, which is not supported: versions 4 and 6 are", body[0])
}

// pins say which key is meant.
type pins struct {
	fingerprints []string // in upper-case hexadecimal
	sha256       string   // of the file, in lower-case hexadecimal
}

func parsePins(fingerprints []string, sum string) (pins, error) {
	p := pins{sha256: strings.ToLower(sum)}
	if b, err := hex.DecodeString(sum); err != nil || sum != "" && len(b) != sha256.Size {
		return p, fmt.Errorf("key_sha256: %q is not a SHA-256: 64 hexadecimal digits", sum)
	}
	for _, f := range fingerprints {
		plain := strings.ToUpper(strings.TrimPrefix(strings.Join(strings.Fields(f), ""), "0x"))
		if b, err := hex.DecodeString(plain); err != nil || len(b) != sha1.Size && len(b) != sha256.Size {
			return p, fmt.Errorf("key_fingerprints: %q is not a key's fingerprint: 40 hexadecimal digits (an id, 8 or 16 of them, can be forged)", f)
		}
		p.fingerprints = append(p.fingerprints, plain)
	}
	return p, nil
}

// String tells the pins.
func (p pins) String() string {
	if len(p.fingerprints) > 0 {
		return strings.Join(p.fingerprints, ", ")
	}
	return "with the SHA-256 " + p.sha256
}

// check says why a file of keys is not the one meant. Every primary key in it must have been named: one
// that came along would be trusted as well.
func (p pins) check(k publicKeys) error {
	if sum := sha256.Sum256([]byte(k.content)); p.sha256 != "" && p.sha256 != hex.EncodeToString(sum[:]) {
		return fmt.Errorf("the key's SHA-256 is %x, not key_sha256", sum)
	}
	for _, f := range k.fingerprints {
		if len(p.fingerprints) > 0 && !slices.Contains(p.fingerprints, f) {
			return fmt.Errorf("the key's fingerprint is %s, which is not among key_fingerprints", f)
		}
	}
	return nil
}

// trusted is what is written of a file of keys that the pins fit: all of it where they are of the whole file, else
// no more than the keys that were looked at. Text around them may hold a key in a form that APT reads and we do not.
func (k publicKeys) trusted(p pins) string {
	if k.armored && p.sha256 == "" {
		return armor(k.packets)
	}
	return k.content
}

// extension is by which APT tells the two forms apart.
func (k publicKeys) extension() string {
	if k.armored {
		return ".asc"
	}
	return ".gpg"
}
