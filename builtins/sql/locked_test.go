package sql

import "testing"

func TestLocked(t *testing.T) {
	b := newBench(t)
	b.gives(`sql.locked(h, lambda: 7, name = "one", ${at})`, "7")
	b.gives(`sql.locked(h, lambda: sql.locked(h, lambda: 8, name = "two", ${at}), name = "one", ${at})`, "8")
	const twice = `sql.locked(h, lambda: sql.locked(h, lambda: 9, name = "it's", ${at}), name = "it's", ${at})`
	b.Fails(twice, `"it's" is held by another run, since 20`)
	b.Check(twice)
	b.Fails(`sql.locked(h, lambda: fail("within"), name = "one", ${at})`, "within")
	b.gives(`sql.locked(h, lambda: 7, name = "one", ${at})`, "7") // released by the failure
	b.Fails(`sql.locked(h, lambda: 7, name = "", ${at})`, "name: it is empty")
	b.Fails(`sql.locked(h, lambda: 7, name = "one", ${at}, timeout = "0s")`, "timeout")
}
