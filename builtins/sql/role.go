package sql

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/pgrun/pgrun/runtime/builtin"
	"github.com/pgrun/pgrun/runtime/host"
	"github.com/pgrun/pgrun/runtime/postgres"
)

type roleParams struct {
	Name            string                         `star:"name,required" doc:"Role's name, as it is: no quotes are needed."`
	Password        builtin.Optional[builtin.Text] `star:"password" doc:"Password, or a SCRAM-SHA-256 verifier of one. Changed where the server's verifier is not of this password, or is MD5."`
	Login           builtin.Optional[bool]         `star:"login" doc:"Whether it may log in. A new role with a password may, unless this is False."`
	Superuser       builtin.Optional[bool]         `star:"superuser" doc:"Whether it may do everything."`
	CreateDB        builtin.Optional[bool]         `star:"createdb" doc:"Whether it may make databases."`
	CreateRole      builtin.Optional[bool]         `star:"createrole" doc:"Whether it may make roles."`
	Replication     builtin.Optional[bool]         `star:"replication" doc:"Whether it may replicate."`
	BypassRLS       builtin.Optional[bool]         `star:"bypassrls" doc:"Whether row security is not for it."`
	Inherit         builtin.Optional[bool]         `star:"inherit" doc:"Whether it has the privileges of the roles that it is a member of."`
	ConnectionLimit builtin.Optional[int]          `star:"connection_limit" doc:"How many sessions it may have at once; -1 for any number."`
	ValidUntil      builtin.Optional[string]       `star:"valid_until" doc:"Time until which the password is good, in UTC where it names no zone: 2030-01-01; infinity for ever."`
	MemberOf        builtin.Strings                `star:"member_of" doc:"Roles that it is a member of. Other memberships stay as they are."`
	Settings        builtin.StringMap              `star:"settings" doc:"Dict of settings for its sessions (ALTER ROLE SET). Others stay as they are."`
	State           string                         `star:"state" choices:"present absent" doc:"present or absent."`
	server
}

// role is what the catalogs say of a role.
type role struct {
	attributes map[string]bool // by keyword
	limit      int
	until      string
	sameUntil  bool
	verifier   *string
	memberOf   []string
	settings   []string
}

// attribute is a yes or no of a role, by the keyword of CREATE ROLE.
type attribute struct {
	keyword string
	want    builtin.Optional[bool]
}

func (p roleParams) attributes() []attribute {
	return []attribute{
		{"LOGIN", p.Login}, {"SUPERUSER", p.Superuser}, {"CREATEDB", p.CreateDB}, {"CREATEROLE", p.CreateRole},
		{"REPLICATION", p.Replication}, {"BYPASSRLS", p.BypassRLS}, {"INHERIT", p.Inherit},
	}
}

func checkRole(ctx context.Context, r host.Reader, p roleParams) (*builtin.Change, error) {
	if err := p.check(); err != nil {
		return nil, err
	}
	p.quiet = p.Password.Set
	return p.change(ctx, r, together, func(ctx context.Context, tx *postgres.Tx) (steps, error) {
		if p.ValidUntil.Set { // so that the error says so, and not that the role cannot be read
			if _, err := tx.Exec(ctx, "SELECT "+postgres.QuoteText(p.ValidUntil.Value)+"::timestamptz"); err != nil {
				return nil, fmt.Errorf("valid_until: %w", err)
			}
		}
		found, err := p.find(ctx, tx)
		if err != nil {
			return nil, err
		}
		if p.State == absent {
			if found == nil {
				return nil, nil
			}
			return steps{{"drop role " + shown(p.Name), "DROP ROLE " + postgres.QuoteName(p.Name)}}, nil
		}
		setsPassword := ""
		if p.Password.Set && (found == nil || !p.hasPassword(found.verifier)) {
			if setsPassword, err = p.passwordOption(ctx, tx); err != nil {
				return nil, err
			}
		}
		if found == nil {
			return p.create(setsPassword), nil
		}
		return p.alter(found, setsPassword), nil
	})
}

func (p roleParams) check() error {
	if err := errors.Join(checkName("name", p.Name), checkSettingNames(p.Settings)); err != nil {
		return err
	}
	for _, group := range p.MemberOf {
		if err := checkName("member_of", group); err != nil {
			return err
		}
	}
	switch {
	case p.Password.Set && p.Password.Value.Reveal() == "":
		return errors.New("password: is empty, which PostgreSQL takes for none")
	case p.Password.Set && strings.ContainsRune(p.Password.Value.Reveal(), 0):
		return errors.New("password: contains a zero byte")
	case p.ConnectionLimit.Set && p.ConnectionLimit.Value < -1:
		return fmt.Errorf("connection_limit: %d is not a number of sessions, nor -1", p.ConnectionLimit.Value)
	}
	return nil
}

// find reads the role; nil where there is none. The verifier is read only where a password is declared,
// since only superusers may.
func (p roleParams) find(ctx context.Context, tx *postgres.Tx) (*role, error) {
	table, verifier := "pg_roles", "NULL"
	if p.Password.Set {
		table, verifier = "pg_authid", "rolpassword"
	}
	until := "infinity"
	if p.ValidUntil.Set {
		until = p.ValidUntil.Value
	}
	found := role{}
	var login, superuser, createDB, createRole, replication, bypassRLS, inherit bool
	err := tx.QueryRow(ctx, `
		SELECT rolcanlogin, rolsuper, rolcreatedb, rolcreaterole, rolreplication, rolbypassrls, rolinherit, rolconnlimit,
			coalesce(rolvaliduntil, 'infinity')::text, coalesce(rolvaliduntil, 'infinity') = $2::text::timestamptz, `+verifier+`,
			ARRAY(SELECT DISTINCT pg_get_userbyid(roleid)::text FROM pg_auth_members WHERE member = r.oid),
			coalesce((SELECT setconfig FROM pg_db_role_setting WHERE setrole = r.oid AND setdatabase = 0), '{}')
		FROM `+table+` r WHERE rolname = $1`, p.Name, until).Scan(
		&login, &superuser, &createDB, &createRole, &replication, &bypassRLS, &inherit, &found.limit,
		&found.until, &found.sameUntil, &found.verifier, &found.memberOf, &found.settings)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return nil, nil
	case err != nil && p.Password.Set:
		return nil, fmt.Errorf("reading the role's password verifier, which takes a superuser: %w", err)
	case err != nil:
		return nil, err
	}
	found.attributes = map[string]bool{
		"LOGIN": login, "SUPERUSER": superuser, "CREATEDB": createDB, "CREATEROLE": createRole,
		"REPLICATION": replication, "BYPASSRLS": bypassRLS, "INHERIT": inherit,
	}
	return &found, nil
}

// create makes the role. setsPassword is the option that does; empty where it stays, as for alter.
func (p roleParams) create(setsPassword string) steps {
	if p.Password.Set && !p.Login.Set {
		p.Login = builtin.Some(true)
	}
	var options, words []string
	for _, a := range p.attributes() {
		if a.want.Set {
			options = append(options, option(a))
			words = append(words, strings.ToLower(option(a)))
		}
	}
	if p.ConnectionLimit.Set {
		options = append(options, fmt.Sprintf("CONNECTION LIMIT %d", p.ConnectionLimit.Value))
		words = append(words, fmt.Sprintf("connection limit %d", p.ConnectionLimit.Value))
	}
	if p.ValidUntil.Set {
		options = append(options, "VALID UNTIL "+postgres.QuoteText(p.ValidUntil.Value))
		words = append(words, "valid until "+p.ValidUntil.Value)
	}
	if setsPassword != "" {
		options = append(options, setsPassword)
		words = append(words, "with a password")
	}
	statement, summary := "CREATE ROLE "+postgres.QuoteName(p.Name), "create role "+shown(p.Name)
	if len(options) > 0 {
		statement += " WITH " + strings.Join(options, " ")
		summary += ": " + strings.Join(words, ", ")
	}
	todo := steps{{summary, statement}}
	p.join(&todo, nil)
	todo.settings("ROLE", p.Name, p.Settings, nil)
	return todo
}

func (p roleParams) alter(found *role, setsPassword string) steps {
	var todo steps
	alter := "ALTER ROLE " + postgres.QuoteName(p.Name) + " WITH "
	for _, a := range p.attributes() {
		if a.want.Set && a.want.Value != found.attributes[a.keyword] {
			todo.add(fmt.Sprintf("make role %s %s", shown(p.Name), strings.ToLower(option(a))), alter+option(a))
		}
	}
	if p.ConnectionLimit.Set && p.ConnectionLimit.Value != found.limit {
		todo.add(fmt.Sprintf("change connection limit of role %s: %d -> %d", shown(p.Name), found.limit, p.ConnectionLimit.Value),
			fmt.Sprintf("%sCONNECTION LIMIT %d", alter, p.ConnectionLimit.Value))
	}
	if p.ValidUntil.Set && !found.sameUntil {
		todo.add(fmt.Sprintf("change valid until of role %s: %s -> %s", shown(p.Name), found.until, p.ValidUntil.Value),
			alter+"VALID UNTIL "+postgres.QuoteText(p.ValidUntil.Value))
	}
	if setsPassword != "" {
		todo.add("change password of role "+shown(p.Name), alter+setsPassword)
	}
	p.join(&todo, found.memberOf)
	todo.settings("ROLE", p.Name, p.Settings, found.settings)
	return todo
}

func (p roleParams) join(todo *steps, memberOf []string) {
	for _, group := range p.MemberOf {
		if !slices.Contains(memberOf, group) {
			todo.add(fmt.Sprintf("make role %s a member of %s", shown(p.Name), shown(group)),
				"GRANT "+postgres.QuoteName(group)+" TO "+postgres.QuoteName(p.Name))
		}
	}
}

func (p roleParams) hasPassword(verifier *string) bool {
	switch password := p.Password.Value.Reveal(); {
	case verifier == nil:
		return false
	case postgres.IsVerifier(password):
		return *verifier == password
	default:
		return postgres.Matches(*verifier, password)
	}
}

// passwordOption sets the password. It never holds it: only its verifier, with as many iterations as the server wants, goes there.
func (p roleParams) passwordOption(ctx context.Context, tx *postgres.Tx) (string, error) {
	verifier := p.Password.Value.Reveal()
	if !postgres.IsVerifier(verifier) {
		var iterations int
		err := tx.QueryRow(ctx, `SELECT coalesce(current_setting('scram_iterations', true)::int, $1)`, postgres.Iterations).Scan(&iterations)
		if err != nil {
			return "", err
		}
		verifier = postgres.Verifier(verifier, postgres.NewSalt(), iterations)
	}
	return "PASSWORD " + postgres.QuoteText(verifier), nil
}

// option is an attribute's keyword as it is wanted: LOGIN or NOLOGIN.
func option(a attribute) string {
	if a.want.Value {
		return a.keyword
	}
	return "NO" + a.keyword
}
