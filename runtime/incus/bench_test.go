package incus

import (
	"fmt"
	"testing"

	"github.com/pgrun/pgrun/runtime/agent/bin"
	"github.com/pgrun/pgrun/runtime/transport"
)

// BenchmarkConnect connects and lists the instances.
func BenchmarkConnect(b *testing.B) {
	connectTest(b, Remote{})
	for b.Loop() {
		s, err := Connect(b.Context(), Remote{})
		if err != nil {
			b.Fatal(err)
		}
		s.Close()
	}
}

// BenchmarkOpen starts an agent that is there, and has one reply of it.
func BenchmarkOpen(b *testing.B) {
	s := connectTest(b, Remote{})
	useAgent(b, s)
	name := testInstance(b, s, true)
	reply(b, s, name)
	for b.Loop() {
		reply(b, s, name)
	}
}

// BenchmarkPush starts an agent that has to be pushed, and has one reply of it.
func BenchmarkPush(b *testing.B) {
	s := connectTest(b, Remote{})
	useAgent(b, s)
	name := testInstance(b, s, true)
	program, err := s.agent("")
	if err != nil {
		b.Fatal(err)
	}
	n := 0
	s.agent = func(string) (bin.Agent, error) {
		another := program
		another.SHA256 = fmt.Sprintf("%064d", n)
		return another, nil
	}
	for b.Loop() {
		n++
		reply(b, s, name)
	}
}

func reply(b *testing.B, s *Server, name string) {
	session := transport.NewSession(name, s.Transport(name), true)
	if _, err := session.Stat(b.Context(), "/etc/hosts"); err != nil {
		b.Fatal(err)
	}
	b.StopTimer()
	if err := session.Close(); err != nil {
		b.Error(err)
	}
	b.StartTimer()
}
