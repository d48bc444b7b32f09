// Package builtins lists the modules that playbooks have.
package builtins

import (
	"github.com/pgrun/pgrun/builtins/account"
	"github.com/pgrun/pgrun/builtins/apt"
	"github.com/pgrun/pgrun/builtins/command"
	"github.com/pgrun/pgrun/builtins/control"
	"github.com/pgrun/pgrun/builtins/file"
	"github.com/pgrun/pgrun/builtins/guard"
	"github.com/pgrun/pgrun/builtins/incus"
	"github.com/pgrun/pgrun/builtins/password"
	pgautoctl "github.com/pgrun/pgrun/builtins/pg_autoctl"
	"github.com/pgrun/pgrun/builtins/probe"
	"github.com/pgrun/pgrun/builtins/process"
	"github.com/pgrun/pgrun/builtins/sql"
	"github.com/pgrun/pgrun/builtins/systemd"
	"github.com/pgrun/pgrun/builtins/template"
	"github.com/pgrun/pgrun/builtins/tls"
	"github.com/pgrun/pgrun/builtins/wait"
	"github.com/pgrun/pgrun/runtime/builtin"
)

// Modules returns every module, in the order of the reference.
func Modules() []builtin.Module {
	return []builtin.Module{
		control.Module(),
		command.Module(),
		template.Module(),
		file.Module(),
		account.User(),
		account.Group(),
		apt.Module(),
		systemd.Module(),
		process.Module(),
		incus.Module(),
		sql.Module(),
		pgautoctl.Module(),
		guard.Module(),
		probe.Module(),
		tls.Module(),
		password.Module(),
		wait.Module(),
	}
}
