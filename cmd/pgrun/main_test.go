package main

import (
	"os"
	"strconv"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/pgrun/pgrun/runtime/agent"
)

// TestMain lets the scripts run pgrun as a command.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"pgrun": func() {
			if len(os.Args) > 1 && os.Args[1] == agent.Argument {
				os.Exit(agent.Main(os.Args[1:]))
			}
			os.Exit(int(execute(os.Args)))
		},
	})
}

// TestScripts runs each file of testdata/script: what a user types and sees. UPDATE=1 rewrites what they
// compare with.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		UpdateScripts:       os.Getenv("UPDATE") != "",
		RequireExplicitExec: true,
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"exits": exits,
		},
	})
}

// TestReferenceIsCurrent compares docs/builtins.md with the declarations that it is made of.
func TestReferenceIsCurrent(t *testing.T) {
	written, err := os.ReadFile("../../docs/builtins.md")
	if err != nil {
		t.Fatal(err)
	}
	now, err := documentation("")
	if err != nil {
		t.Fatal(err)
	}
	if string(written) != now {
		t.Error("docs/builtins.md is not what the declarations say: make docs writes it anew")
	}
}

// exits runs a command that must end with an exit code: exits 3 pgrun x.star.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE COMMAND...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	got := 0
	if exit, ok := err.(interface{ ExitCode() int }); ok {
		got = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if got != want {
		ts.Fatalf("%v: exit code %d, want %d", args[1:], got, want)
	}
}
