package report

const (
	bold   = "\x1b[1m"
	red    = "\x1b[31m"
	green  = "\x1b[32m"
	yellow = "\x1b[33m"
	cyan   = "\x1b[36m"
	plain  = "\x1b[0m"
)

func (t *TextOptions) paint(color, s string) string {
	if !t.Color || color == "" || s == "" {
		return s
	}
	return color + s + plain
}
