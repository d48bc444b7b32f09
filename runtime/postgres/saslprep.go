package postgres

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/bidi"
	"golang.org/x/text/unicode/norm"
)

// saslPrep prepares a password as PostgreSQL's pg_saslprep does, so that one that was typed in another
// form of the same characters is the same password. It is RFC 4013 with three liberties of
// PostgreSQL's: ASCII stays as it is, control characters included; what is prohibited is looked for
// before normalizing, not after; and a text that SASLprep refuses, such as every one with a character
// younger than Unicode 3.2, is used as it is.
func saslPrep(password string) string {
	if !utf8.ValidString(password) || isASCII(password) {
		return password
	}
	mapped := strings.Map(func(r rune) rune {
		switch {
		case unicode.Is(otherSpaces, r):
			return ' '
		case unicode.Is(mappedToNothing, r):
			return -1
		}
		return r
	}, password)
	if mapped == "" || strings.ContainsFunc(mapped, refused) || !bidiAllowed(mapped) {
		return password
	}
	return norm.NFKC.String(mapped)
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

func refused(r rune) bool { return unicode.In(r, prohibited, unassigned32) }

// bidiAllowed is the requirement of RFC 3454, section 6: a text with right-to-left characters has no
// left-to-right ones, and begins and ends with a right-to-left one.
func bidiAllowed(s string) bool {
	first, _ := utf8.DecodeRuneInString(s)
	last, _ := utf8.DecodeLastRuneInString(s)
	if !strings.ContainsFunc(s, rightToLeft) {
		return true
	}
	return !strings.ContainsFunc(s, leftToRight) && rightToLeft(first) && rightToLeft(last)
}

func rightToLeft(r rune) bool {
	class := bidiClass(r)
	return class == bidi.R || class == bidi.AL
}

func leftToRight(r rune) bool { return bidiClass(r) == bidi.L }

func bidiClass(r rune) bidi.Class {
	p, _ := bidi.LookupRune(r)
	return p.Class()
}

// otherSpaces is table C.1.2 of RFC 3454: spaces that are not ASCII's.
var otherSpaces = &unicode.RangeTable{R16: []unicode.Range16{
	{0x00a0, 0x00a0, 1}, {0x1680, 0x1680, 1}, {0x2000, 0x200b, 1}, {0x202f, 0x202f, 1}, {0x205f, 0x205f, 1}, {0x3000, 0x3000, 1},
}}

// mappedToNothing is table B.1 of RFC 3454.
var mappedToNothing = &unicode.RangeTable{R16: []unicode.Range16{
	{0x00ad, 0x00ad, 1}, {0x034f, 0x034f, 1}, {0x1806, 0x1806, 1}, {0x180b, 0x180d, 1}, {0x200b, 0x200d, 1},
	{0x2060, 0x2060, 1}, {0xfe00, 0xfe0f, 1}, {0xfeff, 0xfeff, 1},
}}

// prohibited is the tables C.1.2 and C.2.1 to C.9 of RFC 3454, which RFC 4013 forbids.
var prohibited = &unicode.RangeTable{
	R16: []unicode.Range16{
		{0x0000, 0x001f, 1}, {0x007f, 0x00a0, 1}, {0x0340, 0x0341, 1}, {0x06dd, 0x06dd, 1}, {0x070f, 0x070f, 1},
		{0x1680, 0x1680, 1}, {0x180e, 0x180e, 1}, {0x2000, 0x200f, 1}, {0x2028, 0x202f, 1}, {0x205f, 0x2063, 1},
		{0x206a, 0x206f, 1}, {0x2ff0, 0x2ffb, 1}, {0x3000, 0x3000, 1}, {0xd800, 0xf8ff, 1}, {0xfdd0, 0xfdef, 1},
		{0xfeff, 0xfeff, 1}, {0xfff9, 0xffff, 1},
	},
	R32: []unicode.Range32{
		{0x1d173, 0x1d17a, 1}, {0x1fffe, 0x1ffff, 1}, {0x2fffe, 0x2ffff, 1}, {0x3fffe, 0x3ffff, 1}, {0x4fffe, 0x4ffff, 1},
		{0x5fffe, 0x5ffff, 1}, {0x6fffe, 0x6ffff, 1}, {0x7fffe, 0x7ffff, 1}, {0x8fffe, 0x8ffff, 1}, {0x9fffe, 0x9ffff, 1},
		{0xafffe, 0xaffff, 1}, {0xbfffe, 0xbffff, 1}, {0xcfffe, 0xcffff, 1}, {0xdfffe, 0xdffff, 1}, {0xe0001, 0xe0001, 1},
		{0xe0020, 0xe007f, 1}, {0xefffe, 0x10ffff, 1},
	},
}
