package suggest

import "maps"

// Texts are all hints, by the name they are for.
func Texts() map[string]string {
	all := maps.Clone(names)
	maps.Copy(all, taskKeywords)
	return all
}
