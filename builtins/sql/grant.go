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

type grantParams struct {
	Role        string          `star:"role,required" doc:"Role that holds the privileges, or public for every role."`
	Privileges  builtin.Strings `star:"privileges,required" doc:"SELECT, INSERT, USAGE, ..., or ALL."`
	On          builtin.Strings `star:"on,required" doc:"Objects. Databases and schemas by their names as they are; tables, sequences and functions as one writes them in SQL: orders, sales.\"Order\", sales.total(int)."`
	Type        string          `star:"type" doc:"What on names: database, schema, table (views are tables), sequence, function; or tables, sequences, functions for all of those that are now in the schemas that on names."`
	GrantOption bool            `star:"grant_option" doc:"Whether the role may grant them on; with state absent, only that is taken away."`
	State       string          `star:"state" choices:"present absent" doc:"present or absent."`
	server
}

// objectKind is a kind of object with privileges.
type objectKind struct {
	word       string // in messages
	keyword    string // in GRANT ... ON
	aclDefault string // the kind's letter for acldefault()
	inSchema   bool   // on names schemas, and all objects in them are meant

	// find returns oid, name as GRANT takes it, owner and ACL of the objects that $1 names.
	find string
}

const (
	findRelations = `SELECT c.oid, format('%I.%I', nspname, relname), relowner, relacl FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace WHERE `
	findFunctions = `SELECT p.oid, format('%I.%I(%s)', nspname, proname, pg_get_function_identity_arguments(p.oid)), proowner, proacl FROM pg_proc p JOIN pg_namespace n ON n.oid = pronamespace WHERE `
	tableKinds    = `relkind IN ('r', 'p', 'v', 'm', 'f')`
)

func kindOf(word string) (objectKind, error) {
	for _, k := range []objectKind{
		{"database", "DATABASE", "d", false, `SELECT oid, quote_ident(datname), datdba, datacl FROM pg_database WHERE datname = $1`},
		{"schema", "SCHEMA", "n", false, `SELECT oid, quote_ident(nspname), nspowner, nspacl FROM pg_namespace WHERE nspname = $1`},
		{"table", "TABLE", "r", false, findRelations + tableKinds + ` AND c.oid = to_regclass($1)`},
		{"sequence", "SEQUENCE", "s", false, findRelations + `relkind = 'S' AND c.oid = to_regclass($1)`},
		{"function", "ROUTINE", "f", false, findFunctions + `p.oid = to_regprocedure($1)`},
		{"tables", "TABLE", "r", true, findRelations + tableKinds + ` AND nspname = $1 ORDER BY 2`},
		{"sequences", "SEQUENCE", "s", true, findRelations + `relkind = 'S' AND nspname = $1 ORDER BY 2`},
		{"functions", "ROUTINE", "f", true, findFunctions + `nspname = $1 ORDER BY 2`},
	} {
		if k.word == word {
			return k, nil
		}
	}
	return objectKind{}, fmt.Errorf("type: got %q, want database, schema, table, sequence, function, tables, sequences or functions", word)
}

// object is an object with the privileges that the role holds on it.
type object struct {
	name      string // as GRANT takes it
	held      []string
	grantable []string
	strangers []string // who granted some of them without owning the object
}

func checkGrant(ctx context.Context, r host.Reader, p grantParams) (*builtin.Change, error) {
	kind, err := kindOf(p.Type)
	if err := errors.Join(err, checkName("role", p.Role)); err != nil {
		return nil, err
	}
	switch {
	case len(p.Privileges) == 0:
		return nil, errors.New("privileges: is empty: name some, or ALL")
	case len(p.On) == 0:
		return nil, fmt.Errorf("on: is empty: name a %s", kind.word)
	}
	return p.change(ctx, r, together, func(ctx context.Context, tx *postgres.Tx) (steps, error) {
		privileges, err := p.expand(ctx, tx, kind)
		if err != nil {
			return nil, err
		}
		role, err := p.grantee(ctx, tx)
		if err != nil || role == nil {
			return nil, err
		}
		var todo grouped
		for _, on := range p.On {
			objects, err := p.objects(ctx, tx, kind, on, *role)
			if err != nil {
				return nil, err
			}
			for _, o := range objects {
				if err := p.compare(&todo, o, privileges); err != nil {
					return nil, err
				}
			}
		}
		return p.steps(kind, todo), nil
	})
}

// expand checks the privileges' names against those that the server has for the kind, and resolves ALL.
func (p grantParams) expand(ctx context.Context, tx *postgres.Tx, kind objectKind) ([]string, error) {
	const superuser = 10 // any owner would do
	rows, err := tx.Query(ctx, `SELECT privilege_type FROM aclexplode(acldefault($1, $2)) WHERE grantee = $2`, kind.aclDefault, uint32(superuser))
	if err != nil {
		return nil, err
	}
	all, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, err
	}
	var privileges []string
	for _, privilege := range p.Privileges {
		privilege = strings.ToUpper(strings.TrimSpace(privilege))
		switch privilege {
		case "ALL", "ALL PRIVILEGES":
			return all, nil
		case "TEMP":
			privilege = "TEMPORARY"
		}
		if !slices.Contains(all, privilege) {
			return nil, fmt.Errorf("privileges: a %s has no privilege %q: there are %s, and ALL", strings.TrimSuffix(kind.word, "s"), privilege, strings.Join(all, ", "))
		}
		if !slices.Contains(privileges, privilege) {
			privileges = append(privileges, privilege)
		}
	}
	return privileges, nil
}

// grantee returns the OID by which the role stands in ACLs, 0 for public; nil where there is no such
// role, and so nothing to take from it.
func (p grantParams) grantee(ctx context.Context, tx *postgres.Tx) (*uint32, error) {
	var oid uint32
	if p.public() {
		return &oid, nil
	}
	err := tx.QueryRow(ctx, `SELECT oid FROM pg_roles WHERE rolname = $1`, p.Role).Scan(&oid)
	switch {
	case !errors.Is(err, pgx.ErrNoRows):
		return &oid, err
	case p.State == absent:
		return nil, nil
	}
	return nil, host.NotThere("role: there is no role %s: make it with sql.role first", shown(p.Role))
}

func (p grantParams) public() bool { return strings.EqualFold(p.Role, "public") }

func (p grantParams) objects(ctx context.Context, tx *postgres.Tx, kind objectKind, on string, role uint32) ([]object, error) {
	rows, err := tx.Query(ctx, `
		SELECT name,
			ARRAY(SELECT DISTINCT privilege_type FROM aclexplode(acl) WHERE grantee = $2),
			ARRAY(SELECT DISTINCT privilege_type FROM aclexplode(acl) WHERE grantee = $2 AND is_grantable),
			ARRAY(SELECT DISTINCT pg_get_userbyid(grantor)::text FROM aclexplode(acl) WHERE grantee = $2 AND grantor <> owner)
		FROM (SELECT name, owner, coalesce(acl, acldefault($3, owner)) FROM (`+kind.find+`) o (oid, name, owner, acl)) o (name, owner, acl)`,
		on, role, kind.aclDefault)
	if err != nil {
		return nil, fmt.Errorf("on: %w", err)
	}
	objects, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (o object, err error) {
		return o, row.Scan(&o.name, &o.held, &o.grantable, &o.strangers)
	})
	if err != nil {
		return nil, fmt.Errorf("on: %q: %w", on, err)
	}
	// Where nothing is there, nothing is to be revoked, but for what a dry run would have made by now.
	if _, pending := builtin.DryRun(ctx); len(objects) > 0 || p.State == absent && !pending {
		return objects, nil
	}
	if kind.inSchema {
		var exists bool
		if err := tx.QueryRow(ctx, `SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = $1)`, on).Scan(&exists); err != nil || exists {
			return nil, err
		}
		return nil, host.NotThere("on: there is no schema %q in the database %q", on, tx.Database())
	}
	if kind.word == "database" {
		return nil, host.NotThere("on: there is no database %q: make it with sql.database first", on)
	}
	return nil, host.NotThere("on: there is no %s %s in the database %q", kind.word, on, tx.Database())
}

// compare notes what of the privileges the object lacks, or has and should not.
func (p grantParams) compare(todo *grouped, o object, privileges []string) error {
	var differ []string
	for _, privilege := range privileges {
		held, grantable := slices.Contains(o.held, privilege), slices.Contains(o.grantable, privilege)
		counts := held
		if p.GrantOption {
			counts = grantable
		}
		if counts != (p.State == present) {
			differ = append(differ, privilege)
		}
	}
	if p.State == absent && len(differ) > 0 && len(o.strangers) > 0 {
		return fmt.Errorf("%s has privileges on %s that %s granted, not the owner: revoke them as the one who did, with sql.exec and SET ROLE", shown(p.Role), o.name, strings.Join(o.strangers, ", "))
	}
	todo.add(differ, o.name)
	return nil
}

// grouped holds objects by the privileges in which they differ, in the order in which they were found.
type grouped []group

type group struct{ privileges, objects []string }

func (g *grouped) add(privileges []string, object string) {
	if len(privileges) == 0 {
		return
	}
	for i := range *g {
		if slices.Equal((*g)[i].privileges, privileges) {
			(*g)[i].objects = append((*g)[i].objects, object)
			return
		}
	}
	*g = append(*g, group{privileges, []string{object}})
}

func (p grantParams) steps(kind objectKind, todo grouped) steps {
	role := postgres.QuoteName(p.Role)
	if p.public() {
		role = "PUBLIC"
	}
	var all steps
	for _, g := range todo {
		what, word := strings.Join(g.privileges, ", "), strings.TrimSuffix(kind.word, "s")
		on := "ON " + kind.keyword + " " + strings.Join(g.objects, ", ")
		switch {
		case p.State == present && p.GrantOption:
			all.add(fmt.Sprintf("grant %s on %s %s to %s with grant option", what, word, several(g.objects), shown(p.Role)),
				fmt.Sprintf("GRANT %s %s TO %s WITH GRANT OPTION", what, on, role))
		case p.State == present:
			all.add(fmt.Sprintf("grant %s on %s %s to %s", what, word, several(g.objects), shown(p.Role)),
				fmt.Sprintf("GRANT %s %s TO %s", what, on, role))
		case p.GrantOption:
			all.add(fmt.Sprintf("revoke grant option for %s on %s %s from %s", what, word, several(g.objects), shown(p.Role)),
				fmt.Sprintf("REVOKE GRANT OPTION FOR %s %s FROM %s", what, on, role))
		default:
			all.add(fmt.Sprintf("revoke %s on %s %s from %s", what, word, several(g.objects), shown(p.Role)),
				fmt.Sprintf("REVOKE %s %s FROM %s", what, on, role))
		}
	}
	return all
}

// several lists names, the first few of many.
func several(names []string) string {
	const most = 8
	if len(names) > most {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
	}
	return strings.Join(names, ", ")
}
