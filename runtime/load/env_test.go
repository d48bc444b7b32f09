package load

import (
	"testing"

	"go.starlark.net/starlark"

	"github.com/pgrun/pgrun/runtime/builtin"
)

func TestEnv(t *testing.T) {
	t.Setenv("PGRUN_TEST_SET", "here")
	t.Setenv("PGRUN_TEST_EMPTY", "")
	names := builtin.Predeclared([]builtin.Module{environmentModule()})
	for _, test := range []struct{ expression, want, fails string }{
		{expression: `env("PGRUN_TEST_SET")`, want: "here"},
		{expression: `env("PGRUN_TEST_SET", default = "d")`, want: "here"},
		{expression: `env("PGRUN_TEST_EMPTY", default = "d") + "/x"`, want: "d/x"},
		{expression: `env("PGRUN_TEST_EMPTY")`, fails: "env: the environment variable PGRUN_TEST_EMPTY is not set: set it, or give a default"},
	} {
		v, err := starlark.EvalOptions(dialect, &starlark.Thread{}, "test.star", test.expression, names)
		if test.fails != "" {
			if err == nil || err.Error() != test.fails {
				t.Errorf("%s: error %v, want %q", test.expression, err, test.fails)
			}
			continue
		}
		if got, _ := starlark.AsString(v); err != nil || got != test.want {
			t.Errorf("%s = %v, %v; want %q", test.expression, v, err, test.want)
		}
	}
}
