package vault

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"strings"
)

// DefaultLabel is the label of a vault, and of a password, that names none.
const DefaultLabel = "default"

const (
	magic      = "$ANSIBLE_VAULT"
	cipherName = "AES256"
	lineWidth  = 80

	// maxSealed bounds what is read, and maxPlain what is written: the content
	// is written in hexadecimal twice over, so a vault is four times its size.
	maxSealed = 64 << 20
	maxPlain  = 15 << 20
)

// envelope is a vault taken apart, nothing of it verified yet.
type envelope struct {
	label      string
	salt       []byte
	mac        []byte
	ciphertext []byte
}

// parseEnvelope is as lenient as Ansible about the version, line ends and a
// missing last newline. It is stricter about the digits: only lower case, the
// only one any writer uses, so that no bit of the body can change unnoticed.
func parseEnvelope(data []byte) (envelope, error) {
	if len(data) > maxSealed {
		return envelope{}, fmt.Errorf("it has %d bytes; a vault may have %d MiB", len(data), maxSealed>>20)
	}
	if !Encrypted(data) {
		return envelope{}, fmt.Errorf("%w: it does not begin with %s", ErrNotEncrypted, magic)
	}
	header, body, _ := bytes.Cut(data, []byte("\n"))
	label, err := parseHeader(string(header))
	if err != nil {
		return envelope{}, err
	}
	payload, err := unhexLines(body)
	if err != nil {
		return envelope{}, err
	}
	parts := bytes.SplitN(payload, []byte("\n"), 3)
	if len(parts) < 3 {
		return envelope{}, fmt.Errorf("%w: it ends before its content begins; restore it from a copy", ErrDamaged)
	}
	sealed := envelope{label: label}
	for i, field := range []*[]byte{&sealed.salt, &sealed.mac, &sealed.ciphertext} {
		if *field, err = unhex(parts[i]); err != nil {
			return envelope{}, err
		}
	}
	return sealed, nil
}

// parseHeader returns the label in "$ANSIBLE_VAULT;1.2;AES256;label".
func parseHeader(header string) (string, error) {
	fields := strings.Split(header, ";")
	for i := range fields {
		fields[i] = strings.Trim(fields[i], asciiSpace)
	}
	if len(fields) < 3 || fields[0] != magic {
		return "", fmt.Errorf("%w: its first line is not %s;VERSION;%s", ErrDamaged, magic, cipherName)
	}
	if fields[2] != cipherName {
		// Not quoted: in a value of an encrypted file, this line was encrypted.
		return "", fmt.Errorf("its first line names a cipher other than %s: if the line is intact, re-encrypt the file with a current ansible-vault", cipherName)
	}
	if len(fields) > 3 && fields[3] != "" {
		return fields[3], nil
	}
	return DefaultLabel, nil
}

// cutInHeader reports whether data is what is left of a vault cut inside the
// very word that would have marked it as one.
func cutInHeader(data []byte) bool {
	return len(data) > 0 && strings.HasPrefix(magic, string(data))
}

func unhexLines(body []byte) ([]byte, error) {
	digits := make([]byte, 0, len(body))
	for line := range bytes.Lines(body) {
		line = bytes.TrimSuffix(line, []byte("\n"))
		digits = append(digits, bytes.TrimSuffix(line, []byte("\r"))...)
	}
	return unhex(digits)
}

func unhex(digits []byte) ([]byte, error) {
	decoded := make([]byte, hex.DecodedLen(len(digits)))
	if _, err := hex.Decode(decoded, digits); err != nil || bytes.ContainsAny(digits, "ABCDEF") {
		// Not the decoder's own message: it quotes the byte it met.
		return nil, fmt.Errorf("%w: its body is not pairs of lower-case hex digits; restore it from a copy", ErrDamaged)
	}
	return decoded, nil
}

// format is the inverse of parseEnvelope.
func (e envelope) format() []byte {
	payload := fmt.Appendf(nil, "%x\n%x\n%x", e.salt, e.mac, e.ciphertext)
	digits := make([]byte, hex.EncodedLen(len(payload)))
	hex.Encode(digits, payload)

	var out bytes.Buffer
	out.Grow(len(digits) + len(digits)/lineWidth + len(e.label) + 64)
	if e.label == DefaultLabel {
		fmt.Fprintf(&out, "%s;1.1;%s\n", magic, cipherName)
	} else {
		fmt.Fprintf(&out, "%s;1.2;%s;%s\n", magic, cipherName, e.label)
	}
	for len(digits) > 0 {
		n := min(lineWidth, len(digits))
		out.Write(digits[:n])
		out.WriteByte('\n')
		digits = digits[n:]
	}
	return out.Bytes()
}

// checkLabel accepts what survives the header: Ansible splits it at semicolons,
// trims its fields, and takes a file with any other than ASCII bytes for one
// that is not encrypted.
func checkLabel(label string) error {
	for _, r := range label {
		if r < ' ' || r > '~' || r == ';' {
			return fmt.Errorf("the label %q must be of printable ASCII characters other than a semicolon", label)
		}
	}
	if strings.Trim(label, asciiSpace) != label {
		return fmt.Errorf("the label %q must not begin or end with a space", label)
	}
	return nil
}
