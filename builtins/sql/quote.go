package sql

import (
	"errors"
	"strings"

	"go.starlark.net/starlark"

	"github.com/pgrun/pgrun/runtime/builtin"
	"github.com/pgrun/pgrun/runtime/postgres"
	"github.com/pgrun/pgrun/runtime/secret"
)

type quoteParams struct {
	Text builtin.Text `star:"text,required" doc:"The text, or a secret."`
}

// quote writes a text as a constant of SQL. One of a secret is a secret.
func quote(c *builtin.Call, p quoteParams) (starlark.Value, error) {
	if strings.ContainsRune(p.Text.Reveal(), 0) {
		return nil, errors.New("sql.quote: for parameter \"text\": it contains a zero byte, which PostgreSQL does not take")
	}
	quoted := postgres.QuoteText(p.Text.Reveal())
	if !p.Text.IsSecret() {
		return starlark.String(quoted), nil
	}
	c.Scope.Mask.Learn(quoted)
	return secret.Derive(c.Scope.Mask, quoted, "'"+secret.Hidden+"'"), nil
}
