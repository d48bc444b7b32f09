package postgres

import (
	"encoding/base64"
	"math/rand/v2"
	"strings"
	"testing"
	"unicode"
)

// The example of RFC 7677, section 3: user "user", password "pencil".
func TestVerifierOfTheRFC(t *testing.T) {
	salt, _ := base64.StdEncoding.DecodeString("W22ZaJ0SNY7soEsUEjb6gQ==")
	const want = "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="
	got := Verifier("pencil", salt, 4096)
	if got != want {
		t.Errorf("got %s", got)
	}
	if !Matches(got, "pencil") || Matches(got, "Pencil") || Matches(got, "") {
		t.Error("Matches cannot tell pencil from others")
	}
}

func TestMatchesNothingElse(t *testing.T) {
	good := Verifier("pencil", NewSalt(), 1)
	for _, v := range []string{
		"", "pencil", "md5a9c8a1b0c6a1f1d7f0d5c3b2a1908f7e", good[:len(good)-1], good + "$", strings.Replace(good, "$1:", "$0:", 1),
		strings.Replace(good, "$1:", "$99999999999:", 1), strings.Replace(good, "$1:", "$-1:", 1),
		strings.Replace(good, "256", "512", 1), "SCRAM-SHA-256$1:$:",
	} {
		if Matches(v, "pencil") || IsVerifier(v) {
			t.Errorf("%q is taken as a verifier of pencil", v)
		}
	}
}

// passwords are what SASLprep treats in its different ways.
var passwords = []string{
	"pencil", "p\u00e4ss", "pa\u0308ss" /* the same, decomposed */, "\ufb01sh" /* a ligature */, "\uff21\uff22" /* full width */, "a\u00a0b", "a\u3000b", "a\u200bb",
	"I\u00adX" /* a soft hyphen */, "\u00ad", "\u2168" /* a Roman numeral */, "\u00aa", "\u0007", "\u00e4\u0007", "\u0627\u0031", "\u0627\u0628", "\u0627a\u0628", "\u05d0\u0031\u05d0",
	"\U0001f600", "\ufb01\U0001f600", "\ufb01\u0221", "\u2028x", "\ufb01\ue000", "\ufb01\u200e", "\u1e9e\ufb01", "na\u00efve'\"\\$", "\u0340x", "\u034f", "x\ufe0f", "\u1806a",
}

// PostgreSQL's own verifier of a password, made from the clear text, must match in ours.
func TestSameAsPostgreSQL(t *testing.T) {
	local(t)
	all := passwords
	random := rand.New(rand.NewPCG(1, 2))
	for range 100 {
		var b strings.Builder
		for range 1 + random.IntN(4) {
			r := rune(1 + random.IntN(0x3200))
			if random.IntN(8) == 0 {
				r = rune(0xf900 + random.IntN(0x6e0))
			}
			if unicode.Is(unicode.Cs, r) {
				continue
			}
			b.WriteRune(r)
		}
		if b.Len() > 0 {
			all = append(all, b.String())
		}
	}
	var script strings.Builder
	script.WriteString("DROP ROLE IF EXISTS scram; CREATE ROLE scram;\n")
	for _, p := range all {
		script.WriteString("ALTER ROLE scram PASSWORD " + QuoteText(p) + "; SELECT rolpassword FROM pg_authid WHERE rolname = 'scram';\n")
	}
	verifiers := strings.Split(server.Psql(t, script.String()), "\n")
	if len(verifiers) != len(all) {
		t.Fatalf("%d verifiers of %d passwords", len(verifiers), len(all))
	}
	for i, p := range all {
		if !Matches(verifiers[i], p) {
			t.Errorf("%+q, prepared as %+q: not PostgreSQL's", p, saslPrep(p))
		}
	}
}

// And the other way around: libpq logs in with the password of which we made a verifier.
func TestLogin(t *testing.T) {
	local(t)
	server.Psql(t, "DROP ROLE IF EXISTS login; CREATE ROLE login LOGIN")
	for _, p := range passwords {
		server.Psql(t, "ALTER ROLE login PASSWORD "+QuoteText(Verifier(p, NewSalt(), Iterations)))
		if out, err := server.PsqlAs("login", p, "SELECT 1"); err != nil {
			t.Errorf("%+q: %v %s", p, err, out)
		}
	}
}
