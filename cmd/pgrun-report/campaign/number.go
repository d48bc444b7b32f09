package campaign

import (
	"math"
	"strconv"
)

// Seconds writes a time with as many digits as count: 0.31, 2.5, 52.4, 181.
func Seconds(s float64) string {
	switch m := math.Abs(s); {
	case m < 9.995:
		return strconv.FormatFloat(s, 'f', 2, 64)
	case m < 99.95:
		return strconv.FormatFloat(s, 'f', 1, 64)
	}
	return strconv.FormatFloat(s, 'f', 0, 64)
}

// Count writes a number that is not negative with a comma between each three digits.
func Count(n int) string {
	digits := strconv.Itoa(n)
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}

// Counted writes a number of things.
func Counted(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return Count(n) + " " + many
}

func decimal(n int64) string { return strconv.FormatInt(n, 10) }
