package apt

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/pgrun/pgrun/runtime/builtin"
)

func TestParseWanted(t *testing.T) {
	for _, x := range []struct {
		packages builtin.Strings
		want     string // as apt-get takes them; or
		err      string // part of the message
	}{
		{builtin.Strings{"nginx"}, "nginx", ""},
		{builtin.Strings{"g++", "libc6:i386", "python3.13", "nginx=1.22.*"}, "g++ libc6:i386 python3.13 nginx=1.22.*", ""},
		{builtin.Strings{"a2", "a2"}, "a2", ""},
		{nil, "", "the list is empty"},
		{builtin.Strings{""}, "", `"" is not a package name`},
		{builtin.Strings{"nginx-"}, "", "not a package name"},
		{builtin.Strings{"-y"}, "", "not a package name"},
		{builtin.Strings{"./x.deb"}, "", "not a package name"},
		{builtin.Strings{"nginx="}, "", "no version after the ="},
		{builtin.Strings{"nginx=1 2"}, "", "not a version"},
		{builtin.Strings{"nginx=[1"}, "", "not a version"},
		{builtin.Strings{"nginx=1", "nginx=2"}, "", `both "nginx=1" and "nginx=2"`},
	} {
		got, err := parseWanted(x.packages)
		if x.err != "" {
			if err == nil || !strings.Contains(err.Error(), x.err) || !strings.HasPrefix(err.Error(), "packages: ") {
				t.Errorf("%q: got error %v, want packages: ... %s", x.packages, err, x.err)
			}
		} else if words := strings.Join(arguments(got), " "); err != nil || words != x.want {
			t.Errorf("%q: got %s, %v, want %s", x.packages, words, err, x.want)
		}
	}
}

// database as dpkg-query prints it, tabs for spaces.
func testDatabase(lines ...string) database {
	return parseDatabase(strings.ReplaceAll(strings.Join(lines, "\n")+"\n", " ", "\t"))
}

func TestUnsatisfied(t *testing.T) {
	db := testDatabase(
		"dpkg amd64 install ok installed 1.22 ",
		"dpkg i386 unknown ok not-installed  ",
		"hello amd64 install ok installed 2.10-5 ",
		"libc6 amd64 install ok installed 2.41 ",
		"libz i386 install ok installed 1.3 ",
		"docs all install ok installed 1 ",
		"gone amd64 deinstall ok config-files 1 ",
		"never  unknown ok not-installed  ",
		"half amd64 install ok half-configured 1 ",
		"unpacked amd64 install ok unpacked 1 ",
		"bad amd64 install reinstreq half-installed 1 ",
	)
	for name, want := range map[string]bool{
		"hello": true, "hello=2.10-5": true, "hello=2.*": true, "hello=3*": false, "docs": true,
		"libc6": true, "libc6:amd64": true, "libc6:i386": false, "libz": false, "libz:i386": true,
		"gone": false, "never": false, "half": false, "unpacked": false, "bad": false, "unheard": false,
	} {
		all, err := parseWanted(builtin.Strings{name})
		if err != nil {
			t.Fatal(err)
		}
		if got := len(db.unsatisfied(all)) == 0; got != want {
			t.Errorf("%s is satisfied: got %t, want %t", name, got, want)
		}
	}
	if got, want := db.broken(), []string{"bad", "half", "unpacked"}; !slices.Equal(got, want) {
		t.Errorf("broken: got %q, want %q", got, want)
	}
}

func TestProvider(t *testing.T) {
	db := parseDatabase("original-awk\tamd64\tinstall\tok\tinstalled\t1\tawk\nmawk\tamd64\tinstall\tok\tinstalled\t1.3\tawk, other (= 2)\n" +
		"exim\tamd64\tdeinstall\tok\tconfig-files\t4\tmail-transport-agent\n")
	for name, want := range map[string]string{"awk": "mawk", "other": "mawk", "mail-transport-agent": "", "(=": ""} {
		if got, ok := db.provider(name); got.name != want || ok != (want != "") {
			t.Errorf("%s is provided by %q, want %q", name, got.name, want)
		}
	}
}

func TestParsePolicies(t *testing.T) {
	got := parsePolicies(`postgresql-17:
  Installed: 17.10-0+deb13u1
  Candidate: 17.11-0+deb13u1
  Version table:
     17.11-0+deb13u1 500
        500 http://example.org/debian trixie/main amd64 Packages
 *** 17.10-0+deb13u1 100
        100 /var/lib/dpkg/status
awk:
  Installed: (none)
  Candidate: (none)
  Version table:
`)
	want := map[string]policy{
		"postgresql-17": {"17.11-0+deb13u1", []string{"17.11-0+deb13u1", "17.10-0+deb13u1"}},
		"awk":           {},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestTransaction(t *testing.T) {
	got := parseTransaction(`Reading package lists...
The following additional packages will be installed:
   libsigsegv2 (2.14-1+b2)
The following packages will be REMOVED:
   mawk (1.3.4)
   old* (1)
The following NEW packages will be installed:
   gawk (1:5.2.1-2+b1)
   libsigsegv2 (2.14-1+b2)
The following packages will be upgraded:
   base-files (13.8 => 13.8+deb13u1)
The following packages will be DOWNGRADED:
   hello (2.10-5 => 2.10-3)
1 upgraded, 2 newly installed, 1 downgraded, 2 to remove and 0 not upgraded.
Inst libsigsegv2 (2.14-1+b2 Debian:13.7/stable [amd64])
`).summary([]string{"hello", "gawk", "old"})
	want := []string{
		"downgrade hello 2.10-5 -> 2.10-3",
		"install gawk 1:5.2.1-2+b1",
		"purge old 1",
		"with 2 more: base-files, libsigsegv2",
		"remove too: mawk 1.3.4",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestLockIn(t *testing.T) {
	for stderr, want := range map[string]string{
		"E: Could not get lock /var/lib/apt/lists/lock. It is held by process 275 (apt-get)\nE: Unable to lock directory /var/lib/apt/lists/\n": "/var/lib/apt/lists/lock",
		"E: Could not get lock /var/lib/dpkg/lock-frontend - open (11: Resource temporarily unavailable)\n":                                     "/var/lib/dpkg/lock-frontend",
		"E: Unable to acquire the dpkg frontend lock (/var/lib/dpkg/lock-frontend), is another process using it?\n":                             "/var/lib/dpkg/lock-frontend",
		"dpkg: error: dpkg frontend lock was locked by another process with pid 640\nNote: removing the lock file is always wrong\n":            "/var/lib/dpkg/lock-frontend",
		"dpkg: error: dpkg database lock was locked by /usr/bin/perl process with pid 546\n":                                                    "/var/lib/dpkg/lock",
		"E: Unable to locate package lock\n": "",
	} {
		if got := lockIn(stderr); got != want {
			t.Errorf("%q: got %q, want %q", stderr, got, want)
		}
	}
}

func TestShape(t *testing.T) {
	if a, b := shape("postgresql-18-ip4r"), shape("postgresql-9-ip12r"); a != b {
		t.Errorf("the shapes %s and %s differ", a, b)
	}
}

// The fingerprints were computed by GnuPG.
const (
	firstKey  = "A81F4225BAF7E5570BBF868DBD29442230633AB5" // Ed25519
	secondKey = "D0FC18882A18E369CC291EFF5B5C616F9F4EFBCC" // RSA
)

func readTestdata(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestParseKeys(t *testing.T) {
	one, two := readTestdata(t, "conformance/repository/key.asc"), readTestdata(t, "two-keys.asc")
	packets, err := dearmor(two)
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range []struct {
		name, content string
		want          string // fingerprints; or
		err           string
	}{
		{"one", one, firstKey, ""},
		{"two", two, firstKey + " " + secondKey, ""},
		{"two blocks", one + "\n" + two, firstKey + " " + firstKey + " " + secondKey, ""},
		{"with headers, for Windows", strings.ReplaceAll(strings.Replace(one, "-----\n", "-----\nVersion: 1\n", 1), "\n", "\r\n"), firstKey, ""},
		{"binary", string(packets), firstKey + " " + secondKey, ""},
		{"cut off", one[:len(one)/2], "", "cut off"},
		{"binary, cut off", string(packets[:len(packets)-1]), "", "damaged"},
		{"not base64", strings.Replace(one, "\n\n", "\n\n!!!!", 1), "", "not base64"},
		{"a page that says not found", "<html>404</html>", "", "no OpenPGP key"},
		{"empty", "", "", "no OpenPGP public key"},
		{"a private key", "\x94\x01\x04", "", "private key"},
		{"an armored private key", "-----BEGIN PGP PRIVATE KEY BLOCK-----\n\nAA==\n-----END PGP PRIVATE KEY BLOCK-----\n", "", "no OpenPGP public key"},
		{"a length beyond its end", "\x99\xff\xff\x04", "", "damaged"},
		{"a key of version 3", "\x98\x06\x03\x00\x00\x00\x00\x00", "", "version 3"},
	} {
		k, err := parseKeys(x.content)
		if got := strings.Join(k.fingerprints, " "); x.err == "" && (err != nil || got != x.want) {
			t.Errorf("%s: got %s, %v, want %s", x.name, got, err, x.want)
		}
		if x.err != "" && (err == nil || !strings.Contains(err.Error(), x.err)) {
			t.Errorf("%s: got error %v, want %q", x.name, err, x.err)
		}
	}
}

func TestPins(t *testing.T) {
	two, err := parseKeys(readTestdata(t, "two-keys.asc"))
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256([]byte(two.content))
	right := hex.EncodeToString(sum[:])
	for _, x := range []struct {
		name         string
		fingerprints []string
		sha256       string
		err          string
	}{
		{"both", []string{firstKey, secondKey}, right, ""},
		{"as people write them", []string{"a81f 4225 baf7 e557 0bbf  868d bd29 4422 3063 3ab5", "0x" + secondKey}, "", ""},
		{"only the file", nil, strings.ToUpper(right), ""},
		{"a key that came along", []string{firstKey}, "", secondKey},
		{"another file", nil, strings.Repeat("0", 64), "SHA-256"},
		{"an id", []string{firstKey[24:]}, "", "key_fingerprints: "},
		{"half a sum", nil, right[:32], "key_sha256: "},
	} {
		p, err := parsePins(x.fingerprints, x.sha256)
		if err == nil {
			err = p.check(two)
		}
		if x.err == "" && err != nil || x.err != "" && (err == nil || !strings.Contains(err.Error(), x.err)) {
			t.Errorf("%s: got error %v, want %q", x.name, err, x.err)
		}
	}
}

func FuzzParseKeys(f *testing.F) {
	f.Add("-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nmDMEZ3VDgBYJKwYBBAHaRw8BAQdA\n-----END PGP PUBLIC KEY BLOCK-----")
	f.Add("\x99\x00\x06\x04\x00\x00\x00\x00\x00")
	f.Add("\xc6\xff\x00\x00\x00\x06\x04\x00\x00\x00\x00\x00")
	f.Fuzz(func(t *testing.T, content string) {
		if k, err := parseKeys(content); err == nil && len(k.fingerprints) == 0 {
			t.Errorf("%q: no error and no key", content)
		}
	})
}

// APT reads armor that parseKeys does not look at. What is written holds no more than the keys that were checked.
func TestOnlyCheckedKeysAreWritten(t *testing.T) {
	one := armor(keyPacket("one"))
	hidden := strings.ReplaceAll(armor(keyPacket("two")), "PUBLIC KEY BLOCK", "ARMORED FILE")
	k, err := parseKeys("a comment\n" + one + hidden)
	if err != nil || len(k.fingerprints) != 1 {
		t.Fatalf("fingerprints %v (%v)", k.fingerprints, err)
	}
	if got := k.trusted(pins{fingerprints: k.fingerprints}); got != one {
		t.Errorf("written:\n%s\nwant:\n%s", got, one)
	}
	again, err := parseKeys(one)
	if err != nil || !slices.Equal(again.fingerprints, k.fingerprints) {
		t.Errorf("read again: %v (%v)", again.fingerprints, err)
	}
}

// The armor is GnuPG's own, checksum included.
func TestArmor(t *testing.T) {
	key := readTestdata(t, "conformance/repository/key.asc")
	packets, err := dearmor(key)
	if err != nil || armor(packets) != key {
		t.Errorf("armored anew:\n%s\nwant:\n%s (%v)", armor(packets), key, err)
	}
}

// keyPacket is a public key packet of version 4 with some content.
func keyPacket(content string) []byte {
	body := append([]byte{4, 0, 0, 0, 0, 1}, content...)
	return append([]byte{0xc6, byte(len(body))}, body...)
}
