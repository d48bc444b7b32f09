package builtins_test

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/pgrun/pgrun/runtime/builtin"
	"github.com/pgrun/pgrun/runtime/builtin/builtintest"
	"github.com/pgrun/pgrun/runtime/host"
	"github.com/pgrun/pgrun/runtime/incus"
	"github.com/pgrun/pgrun/runtime/transport"
)

// watched is a machine whose commands are shown to somebody before they run.
func watched(m builtintest.Machine, show func(host.Command)) builtintest.Machine {
	reader, _ := m.Reader.(incus.Owned)
	writer, _ := m.Host.(incus.Owned)
	return builtintest.Machine{Reader: watchedReader{m.Reader, reader, show}, Host: watchedHost{m.Host, writer, show}}
}

type watchedReader struct {
	host.Reader
	incus.Owned
	show func(host.Command)
}

func (w watchedReader) Look(ctx context.Context, c host.Command) (host.Output, error) {
	w.show(c)
	return w.Reader.Look(ctx, c)
}

type watchedHost struct {
	host.Host
	incus.Owned
	show func(host.Command)
}

func (w watchedHost) Look(ctx context.Context, c host.Command) (host.Output, error) {
	w.show(c)
	return w.Host.Look(ctx, c)
}

func (w watchedHost) Run(ctx context.Context, c host.Command) (host.Output, error) {
	w.show(c)
	return w.Host.Run(ctx, c)
}

// The conformance test itself must find the faults that a builtin can have.
func TestJudge(t *testing.T) {
	reader := transport.NewReader("here", transport.Local())
	session := transport.NewSession("here", transport.Local(), false)
	t.Cleanup(func() { _, _ = reader.Close(), session.Close() })
	machine := builtintest.Machine{Reader: reader, Host: session}

	for _, test := range []struct {
		name string
		c    conformance
		want []string // each in one of the problems; none: there must be no problem
	}{
		{"good", conformance{apply: `probe.write(h, "x", keeps = True)`, bad: []badCall{{"text", `probe.write(h, "")`}}}, nil},
		{"finds nothing", conformance{setup: `probe.write(h, "x", keeps = True)`, apply: `probe.write(h, "x", keeps = True)`},
			[]string{"a dry run finds nothing", "the run changes nothing"}},
		{"never done", conformance{apply: `probe.write(h, "x")`}, []string{"still changes something after the run (dry run: true)", "still changes something after the run (dry run: false)"}},
		{"acts each time", conformance{apply: `probe.write(h, "x")`, always: true}, nil},
		{"said to act each time", conformance{apply: `probe.write(h, "x", keeps = True)`, always: true}, []string{"said to act each time"}},
		{"writes in a dry run", conformance{apply: `probe.write(h, "x", hasty = True, keeps = True)`}, []string{"a dry run touched the machine"}},
		{"silent", conformance{apply: `probe.write(h, "x", keeps = True, silent = True)`}, []string{"does not say what"}},
		{"shows a secret", conformance{apply: `probe.write(h, secret("hunter22"), keeps = True)`}, []string{"shows a secret: write ********"}},
		{"a mistake accepted", conformance{apply: `probe.write(h, "x", keeps = True)`, bad: []badCall{{"text", `probe.write(h, "fine")`}}}, []string{"a bad call succeeds"}},
		{"another mistake", conformance{apply: `probe.write(h, "x", keeps = True)`, bad: []badCall{{"mode", `probe.write(h, "")`}}}, []string{"want in it: mode"}},
		{"fails", conformance{apply: `probe.write(h, "")`}, []string{"fails (dry run: true)"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			file := t.TempDir() + "/probe"
			var problems []string
			b := builtintest.New(t, machine, probe(file))
			look := func() []string {
				content, _ := os.ReadFile(file)
				return []string{string(content)}
			}
			test.c.judge(b, look, func(format string, args ...any) { problems = append(problems, fmt.Sprintf(format, args...)) })
			for _, want := range test.want {
				if !slices.ContainsFunc(problems, func(p string) bool { return strings.Contains(p, want) }) {
					t.Errorf("found %q, want %q", problems, want)
				}
			}
			if len(test.want) == 0 && len(problems) > 0 {
				t.Errorf("found %q, want nothing", problems)
			}
		})
	}
}

type probeParams struct {
	Text   builtin.Text `star:"text,required"`
	Keeps  bool         `star:"keeps"`  // notices that it is done
	Hasty  bool         `star:"hasty"`  // writes while it checks
	Silent bool         `star:"silent"` // says nothing
}

// probe is a module with a builtin that has faults, if asked for.
func probe(file string) builtin.Module {
	return builtin.Module{Name: "probe", Builtins: []builtin.Builtin{&builtin.Action[probeParams]{
		Name: "write",
		Check: func(ctx context.Context, r host.Reader, p probeParams) (*builtin.Change, error) {
			text := p.Text.Reveal()
			if text == "" {
				return nil, fmt.Errorf("text is empty")
			}
			if has, err := r.ReadFile(ctx, file); err == nil && string(has) == text && p.Keeps {
				return nil, nil
			}
			if p.Hasty {
				if err := os.WriteFile(file, []byte("too soon"), 0o600); err != nil {
					return nil, err
				}
			}
			c := &builtin.Change{Apply: func(ctx context.Context, h host.Host) error {
				return h.WriteFile(ctx, file, strings.NewReader(text), host.Attributes{})
			}}
			if !p.Silent {
				c.Summary = []string{"write " + text}
			}
			return c, nil
		},
	}}}
}
