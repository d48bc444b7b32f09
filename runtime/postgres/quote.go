package postgres

import (
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
)

// maxName is the length in bytes after which PostgreSQL cuts a name off (NAMEDATALEN - 1).
const maxName = 63

// QuoteName quotes a name, whose parts may be given one by one: QuoteName("sales", "Order").
func QuoteName(parts ...string) string { return pgx.Identifier(parts).Sanitize() }

// QuoteText writes s as a string constant, whatever standard_conforming_strings is.
func QuoteText(s string) string {
	quoted := "'" + strings.ReplaceAll(s, "'", "''") + "'"
	if strings.Contains(s, `\`) {
		return " E" + strings.ReplaceAll(quoted, `\`, `\\`)
	}
	return quoted
}

// CheckName says what is wrong with s as a name of the kind that PostgreSQL keeps: one that is too
// long would be cut off, and never be found again under the name that was asked for.
func CheckName(s string) error {
	switch {
	case s == "":
		return fmt.Errorf("a name is empty")
	case strings.ContainsRune(s, 0):
		return fmt.Errorf("the name %q contains a zero byte", s)
	case len(s) > maxName:
		return fmt.Errorf("the name %q is longer than PostgreSQL's %d bytes", s, maxName)
	}
	return nil
}
