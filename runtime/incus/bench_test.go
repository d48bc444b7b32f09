package incus

import (
	"bytes"
	"fmt"
	"testing"

	client "github.com/lxc/incus/v6/client"

	"github.com/pgrun/pgrun/runtime/agent/bin"
	"github.com/pgrun/pgrun/runtime/host"
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

// BenchmarkWrite100MB writes a large file through a session.
func BenchmarkWrite100MB(b *testing.B) {
	s := connectTest(b, Remote{})
	useAgent(b, s)
	name := testInstance(b, s, true)
	session := transport.NewSession(name, s.Transport(name), false)
	b.Cleanup(func() { _ = session.Close() })
	if err := session.Connect(b.Context()); err != nil {
		b.Fatal(err)
	}
	content := bytes.Repeat([]byte("0123456789abcdef"), 100<<20/16)
	b.SetBytes(int64(len(content)))
	for b.Loop() {
		if err := session.WriteFile(b.Context(), "/root/big", bytes.NewReader(content), host.Attributes{}); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkFilePush100MB is what the file API takes for the same, with which incus file push does it.
func BenchmarkFilePush100MB(b *testing.B) {
	s := connectTest(b, Remote{})
	name := testInstance(b, s, true)
	content := bytes.Repeat([]byte("0123456789abcdef"), 100<<20/16)
	b.SetBytes(int64(len(content)))
	for b.Loop() {
		args := client.InstanceFileArgs{Content: bytes.NewReader(content), Type: "file", Mode: 0o644}
		if err := s.client(b.Context()).CreateInstanceFile(name, "/root/big", args); err != nil {
			b.Fatal(err)
		}
	}
}
