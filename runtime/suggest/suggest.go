// Package suggest finds what somebody meant who mistyped a name, or wrote what other tools have.
package suggest

import (
	"fmt"
	"strings"
)

// Nearest returns the candidate that differs least from name, or "" where none is close: at most
// a third of its letters, and no more than three, changed, added, left out or swapped.
func Nearest(name string, candidates []string) string {
	best, least := "", min(max(1, len(name)/3), 3)+1
	for _, c := range candidates {
		d := Distance(strings.ToLower(name), strings.ToLower(c))
		if d < least || d == least && best != "" && strings.HasPrefix(c, name) { // of two that are as close, what goes on from there
			best, least = c, d
		}
	}
	return best
}

// Or returns a question that names the nearest candidate, for the end of a message, or else where
// none is close.
func Or(name string, candidates []string, otherwise string) string {
	if near := Nearest(name, candidates); near != "" {
		return fmt.Sprintf(" (did you mean %s?)", near)
	}
	return otherwise
}

// Distance is how many letters one has to change, add, leave out or swap with the next to make b of a: the optimal
// string alignment distance.
func Distance(a, b string) int {
	x, y := []rune(a), []rune(b)
	rows := make([][]int, len(x)+1)
	for i := range rows {
		rows[i] = make([]int, len(y)+1)
		rows[i][0] = i
	}
	for j := range rows[0] {
		rows[0][j] = j
	}
	for i := 1; i <= len(x); i++ {
		for j := 1; j <= len(y); j++ {
			cost := 1
			if x[i-1] == y[j-1] {
				cost = 0
			}
			rows[i][j] = min(rows[i-1][j]+1, rows[i][j-1]+1, rows[i-1][j-1]+cost)
			if i > 1 && j > 1 && x[i-1] == y[j-2] && x[i-2] == y[j-1] {
				rows[i][j] = min(rows[i][j], rows[i-2][j-2]+1)
			}
		}
	}
	return rows[len(x)][len(y)]
}
