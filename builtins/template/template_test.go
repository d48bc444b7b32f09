package template

import (
	"os"
	"testing"

	"github.com/pgrun/pgrun/runtime/builtin/builtintest"
	"github.com/pgrun/pgrun/runtime/transport"
)

func TestTemplate(t *testing.T) {
	session := transport.NewSession("here", transport.Local(), false)
	t.Cleanup(func() { _ = session.Close() })
	b := builtintest.New(t, builtintest.Machine{Reader: session, Host: session}, Module())
	if err := os.WriteFile(b.Dir+"/x.tmpl", []byte("[x]\nport = {{.port}}\n{{if .h}}host = {{.h.name}}\n{{end}}"), 0o644); err != nil {
		t.Fatal(err)
	}
	if got := b.Run(`template("x.tmpl", port = 5432, h = h)`).Value.String(); got != `"[x]\nport = 5432\nhost = here\n"` {
		t.Errorf("got %s", got)
	}
	b.Run(`
text = template("x.tmpl", port = secret("hunter22"), h = None)
if type(text) != "secret" or text != secret("[x]\nport = hunter22\n"): fail(type(text))`)
	b.Fails(`template("x.tmpl", prot = 1)`, "template: x.tmpl:2: {{.port}}: no variable \"port\"", "given: prot")
	b.Fails(`template("y.tmpl")`, `template: no template "y.tmpl" in the project`)
	b.Fails(`template("../y.tmpl")`, "path", "outside of the project")
	b.Fails(`template()`, "missing argument for path")

	// Only the secret itself is hidden where the text shows, not the lines around it.
	b.Run(`template("x.tmpl", port = secret("hunter33"), h = None)`)
	if got := b.Mask.Hide("[x]\nport = hunter33"); got != "[x]\nport = ********" {
		t.Errorf("masked: %q", got)
	}
}
