package sql

import (
	"slices"
	"testing"
)

func TestSameValue(t *testing.T) {
	for _, c := range []struct {
		setting
		a, b string
		want bool
	}{
		{setting{kind: "integer", unit: "kB"}, "64MB", "65536", true},
		{setting{kind: "integer", unit: "kB"}, "64MB", "65536kB", true},
		{setting{kind: "integer", unit: "kB"}, "64MB", "64kB", false},
		{setting{kind: "integer", unit: "kB"}, "64 MB", "64MB", true},
		{setting{kind: "integer", unit: "8kB"}, "16384", "128MB", true},
		{setting{kind: "integer", unit: "8kB"}, "0.5GB", "512MB", true},
		{setting{kind: "integer", unit: "MB"}, "1GB", "1024", true},
		{setting{kind: "integer", unit: "B"}, "1kB", "1024", true},
		{setting{kind: "integer", unit: "ms"}, "10s", "10000", true},
		{setting{kind: "integer", unit: "min"}, "1d", "1440", true},
		{setting{kind: "integer", unit: "s"}, "5min", "300s", true},
		{setting{kind: "integer", unit: "ms"}, "500us", "0", true}, // rounded, as the server does
		{setting{kind: "integer", unit: "ms"}, "10MB", "10", false},
		{setting{kind: "integer", unit: "ms"}, "-1", "-1", true},
		{setting{kind: "integer"}, "0x10", "16", true},
		{setting{kind: "integer"}, "0777", "511", true},
		{setting{kind: "integer"}, "1e3", "1000", true},
		{setting{kind: "integer"}, "many", "1", false},
		{setting{kind: "real", unit: "ms"}, "0.5s", "500", true},
		{setting{kind: "real"}, "1.10", "1.1", true},
		{setting{kind: "real"}, "1.1", "1.2", false},
		{setting{kind: "bool"}, "on", "TRUE", true},
		{setting{kind: "bool"}, "y", "1", true},
		{setting{kind: "bool"}, "of", "false", true},
		{setting{kind: "bool"}, "on", "off", false},
		{setting{kind: "bool"}, "o", "on", false},
		{setting{kind: "enum"}, "Replica", "replica", true},
		{setting{kind: "string"}, "A", "a", false},
		{setting{name: "search_path", kind: "string"}, `"$user", public`, `"$user","public"`, true},
		{setting{name: "search_path", kind: "string"}, `a,b`, `"a,b"`, false},
		{setting{name: "synchronous_standby_names", kind: "string"}, `a,b`, `a, b`, false},
	} {
		if got := c.same(c.a, c.b); got != c.want {
			t.Errorf("%+v: same(%q, %q) = %v", c.setting, c.a, c.b, got)
		}
	}
}

func TestSplitNames(t *testing.T) {
	for _, c := range []struct {
		list string
		want []string
	}{
		{"", nil},
		{" , ", nil},
		{"a", []string{"a"}},
		{" a , b ", []string{"a", "b"}},
		{`"$user", public`, []string{"$user", "public"}},
		{`"a,b" , "c""d"`, []string{"a,b", `c"d`}},
		{`" a "`, []string{" a "}},
	} {
		if got := splitNames(c.list); !slices.Equal(got, c.want) {
			t.Errorf("splitNames(%q) = %q", c.list, got)
		}
	}
}
