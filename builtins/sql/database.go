package sql

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/pgrun/pgrun/runtime/builtin"
	"github.com/pgrun/pgrun/runtime/host"
	"github.com/pgrun/pgrun/runtime/postgres"
)

type databaseParams struct {
	Name            string                `star:"name,required" doc:"Database's name, as it is: no quotes are needed."`
	Owner           string                `star:"owner" doc:"Role that owns it; by default, of a new one, the role that makes it."`
	Encoding        string                `star:"encoding" doc:"Character encoding: UTF8, ..."`
	Locale          string                `star:"locale" doc:"Sets lc_collate and lc_ctype: C.UTF-8, de_DE.UTF-8, ..."`
	Collate         string                `star:"lc_collate" doc:"Order of texts."`
	Ctype           string                `star:"lc_ctype" doc:"Classes of characters."`
	Provider        string                `star:"locale_provider" doc:"libc, icu or builtin (PostgreSQL 17)."`
	ProviderLocale  string                `star:"provider_locale" doc:"Locale of the providers icu and builtin: und, de, C.UTF-8, ..."`
	Template        string                `star:"template" doc:"Database to copy when making it; by default template0 where encoding or locale are given, else template1."`
	Tablespace      string                `star:"tablespace" doc:"Tablespace of its objects."`
	ConnectionLimit builtin.Optional[int] `star:"connection_limit" doc:"How many sessions it takes at once; -1 for any number."`
	Settings        builtin.StringMap     `star:"settings" doc:"Dict of settings for sessions in it (ALTER DATABASE SET). Others stay as they are."`
	Force           bool                  `star:"force" doc:"With state absent: ends the sessions that use it."`
	State           string                `star:"state" choices:"present absent" doc:"present or absent."`
	server
}

// database is what the catalog says of a database.
type database struct {
	oid                       uint32
	owner, encoding           string
	collate, ctype            string
	provider, icu, tablespace string
	limit                     int
	sameEncoding              bool
	settings                  []string
}

func checkDatabase(ctx context.Context, r host.Reader, p databaseParams) (*builtin.Change, error) {
	if err := p.check(); err != nil {
		return nil, err
	}
	return p.change(ctx, r, oneByOne, func(ctx context.Context, tx *postgres.Tx) (steps, error) {
		var d database
		// to_jsonb: the columns of the provider are called otherwise, or lacking, in some versions.
		err := tx.QueryRow(ctx, `
			SELECT d.oid, pg_get_userbyid(datdba), pg_encoding_to_char(encoding), encoding = pg_char_to_encoding($2),
				datcollate, datctype, coalesce(j->>'datlocprovider', 'c'), coalesce(j->>'datlocale', j->>'daticulocale', ''),
				t.spcname, datconnlimit, coalesce(s.setconfig, '{}')
			FROM pg_database d JOIN pg_tablespace t ON t.oid = d.dattablespace
				LEFT JOIN pg_db_role_setting s ON s.setdatabase = d.oid AND s.setrole = 0,
				to_jsonb(d) j
			WHERE datname = $1`, p.Name, p.Encoding).Scan(&d.oid, &d.owner, &d.encoding, &d.sameEncoding,
			&d.collate, &d.ctype, &d.provider, &d.icu, &d.tablespace, &d.limit, &d.settings)
		if err != nil && !errors.Is(err, pgx.ErrNoRows) {
			return nil, err
		}
		exists := err == nil
		switch {
		case p.State == absent && !exists:
			return nil, nil
		case p.State == absent:
			return p.drop(), nil
		case !exists:
			return p.create(), nil
		}
		return p.alter(d)
	})
}

func (p databaseParams) check() error {
	if err := checkName("name", p.Name); err != nil {
		return err
	}
	switch {
	case p.Locale != "" && (p.Collate != "" || p.Ctype != ""):
		return errors.New("locale: sets lc_collate and lc_ctype: give it or them")
	case p.Force && p.State != absent:
		return errors.New("force: is about state = \"absent\"")
	case p.ConnectionLimit.Set && p.ConnectionLimit.Value < -1:
		return fmt.Errorf("connection_limit: %d is not a number of sessions, nor -1", p.ConnectionLimit.Value)
	}
	if providerLetter(p.Provider) == "" {
		return fmt.Errorf("locale_provider: got %q, want libc, icu or builtin", p.Provider)
	}
	return checkSettingNames(p.Settings)
}

// providerLetter is pg_database.datlocprovider of a provider; "any" where none is asked for.
func providerLetter(provider string) string {
	return map[string]string{"": "any", "libc": "c", "icu": "i", "builtin": "b"}[provider]
}

func (p databaseParams) drop() steps {
	statement := "DROP DATABASE " + postgres.QuoteName(p.Name)
	if p.Force {
		statement += " WITH (FORCE)"
	}
	return steps{{"drop database " + shown(p.Name), statement}}
}

func (p databaseParams) create() steps {
	statement, summary := "CREATE DATABASE "+postgres.QuoteName(p.Name), "create database "+shown(p.Name)
	option := func(keyword, value, quoted string) {
		if value != "" {
			statement += " " + keyword + " = " + quoted
			summary += ", " + strings.ToLower(keyword) + " " + value
		}
	}
	name := func(keyword, value string) { option(keyword, value, postgres.QuoteName(value)) }
	text := func(keyword, value string) { option(keyword, value, postgres.QuoteText(value)) }
	name("OWNER", p.Owner)
	text("ENCODING", p.Encoding)
	text("LOCALE", p.Locale)
	text("LC_COLLATE", p.Collate)
	text("LC_CTYPE", p.Ctype)
	if p.Provider != "" {
		option("LOCALE_PROVIDER", p.Provider, p.Provider)
	}
	switch p.Provider {
	case "builtin":
		text("BUILTIN_LOCALE", p.ProviderLocale)
	default:
		text("ICU_LOCALE", p.ProviderLocale)
	}
	template := p.Template
	if template == "" && p.Encoding+p.Locale+p.Collate+p.Ctype+p.Provider+p.ProviderLocale != "" {
		template = "template0" // the only one that may be copied with another encoding or locale
	}
	name("TEMPLATE", template)
	name("TABLESPACE", p.Tablespace)
	if p.ConnectionLimit.Set {
		limit := fmt.Sprint(p.ConnectionLimit.Value)
		option("CONNECTION LIMIT", limit, limit)
	}
	todo := steps{{summary, statement}}
	todo.settings("DATABASE", p.Name, p.Settings, nil)
	return todo
}

func (p databaseParams) alter(d database) (steps, error) {
	collate, ctype := p.Collate, p.Ctype
	if p.Locale != "" {
		collate, ctype = p.Locale, p.Locale
	}
	for _, fixed := range []struct {
		param, is, want string
		same            bool
	}{
		{"encoding", d.encoding, p.Encoding, d.sameEncoding},
		{"lc_collate", d.collate, collate, sameLocale(d.collate, collate)},
		{"lc_ctype", d.ctype, ctype, sameLocale(d.ctype, ctype)},
		{"locale_provider", d.provider, p.Provider, d.provider == providerLetter(p.Provider)},
		{"provider_locale", d.icu, p.ProviderLocale, d.icu == p.ProviderLocale},
	} {
		if fixed.want != "" && !fixed.same {
			return nil, fmt.Errorf("%s: the database %s has %s, not %s, which cannot be changed: declare what it has, or dump it, drop it (state = \"absent\") and restore it into a new one",
				fixed.param, shown(p.Name), fixed.is, fixed.want)
		}
	}
	if p.Tablespace != "" && p.Tablespace != d.tablespace {
		return nil, fmt.Errorf("tablespace: the database %s is in %s, not %s: moving it locks it and copies all of it, so that is done by hand: ALTER DATABASE %s SET TABLESPACE %s",
			shown(p.Name), d.tablespace, p.Tablespace, postgres.QuoteName(p.Name), postgres.QuoteName(p.Tablespace))
	}
	alter := "ALTER DATABASE " + postgres.QuoteName(p.Name)
	var todo steps
	if p.Owner != "" && p.Owner != d.owner {
		todo.add(fmt.Sprintf("change owner of database %s: %s -> %s", shown(p.Name), d.owner, p.Owner), alter+" OWNER TO "+postgres.QuoteName(p.Owner))
	}
	if p.ConnectionLimit.Set && p.ConnectionLimit.Value != d.limit {
		todo.add(fmt.Sprintf("change connection limit of database %s: %d -> %d", shown(p.Name), d.limit, p.ConnectionLimit.Value),
			fmt.Sprintf("%s CONNECTION LIMIT %d", alter, p.ConnectionLimit.Value))
	}
	todo.settings("DATABASE", p.Name, p.Settings, d.settings)
	return todo, nil
}

// sameLocale compares names of locales as the C library does, to which C.UTF-8 and C.utf8 are one.
func sameLocale(a, b string) bool {
	plain := func(s string) string {
		language, charset, _ := strings.Cut(s, ".")
		return language + "." + strings.ToLower(strings.ReplaceAll(charset, "-", ""))
	}
	return plain(a) == plain(b)
}
