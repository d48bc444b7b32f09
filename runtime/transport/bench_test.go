package transport

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/pgrun/pgrun/runtime/host"
)

func localSession(tb testing.TB) *Session {
	tb.Helper()
	s := NewSession("here", Local(), false)
	tb.Cleanup(func() { _ = s.Close() })
	if err := s.Connect(tb.Context()); err != nil {
		tb.Fatal(err)
	}
	return s
}

func BenchmarkStat(b *testing.B) {
	s := localSession(b)
	for b.Loop() {
		if _, err := s.Stat(b.Context(), "/etc/hosts"); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkReadSmallFile(b *testing.B) {
	s := localSession(b)
	for b.Loop() {
		if _, err := s.ReadFile(b.Context(), "/etc/hosts"); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkLookTrue(b *testing.B) {
	s := localSession(b)
	for b.Loop() {
		if _, err := s.Look(b.Context(), host.Command{Argv: []string{"true"}}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkWrite100MB(b *testing.B) {
	s := localSession(b)
	content := bytes.Repeat([]byte("0123456789abcdef"), 100<<20/16)
	path := filepath.Join(b.TempDir(), "big")
	b.SetBytes(int64(len(content)))
	for b.Loop() {
		if err := s.WriteFile(b.Context(), path, bytes.NewReader(content), host.Attributes{}); err != nil {
			b.Fatal(err)
		}
	}
	if fi, err := os.Stat(path); err != nil || fi.Size() != int64(len(content)) {
		b.Fatalf("%v, %v", fi, err)
	}
}

// BenchmarkRunTrue is BenchmarkLookTrue without the table of looks.
func BenchmarkRunTrue(b *testing.B) {
	s := localSession(b)
	for b.Loop() {
		if _, err := s.Run(b.Context(), host.Command{Argv: []string{"true"}}); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkStatPiped is BenchmarkStat with the agent in a process of its own.
func BenchmarkStatPiped(b *testing.B) {
	s := NewSession("here", &processes{}, false)
	defer s.Close()
	for b.Loop() {
		if _, err := s.Stat(b.Context(), "/etc/hosts"); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkConnect starts an agent in a process and gets its first reply.
func BenchmarkConnect(b *testing.B) {
	for b.Loop() {
		s := NewSession("here", &processes{}, false)
		if _, err := s.Stat(b.Context(), "/etc/hosts"); err != nil {
			b.Fatal(err)
		}
		_ = s.Close()
	}
}
