package guard

import (
	"strings"
	"testing"

	"github.com/pgrun/pgrun/runtime/builtin"
)

func TestMetricsAddress(t *testing.T) {
	for address, good := range map[string]bool{
		"": true, "127.0.0.1:9187": true, ":9187": true, "[::1]:9187": true,
		"9187": false, "127.0.0.1": false, "127.0.0.1:": false, "127.0.0.1:99999": false, "127.0.0.1:foo": false,
		"http://127.0.0.1:9187": false, "::1:9187": false, "a:b:9187": false, "h]:9187": false, "a[b:9187": false, "[[::1]]:9187": false,
	} {
		p := params{guarded: defaults, Metrics: address}
		p.Hosts = builtin.HostList{{}}
		err := p.validate()
		if good != (err == nil) || err != nil && !strings.Contains(err.Error(), "no address with a port, such as 127.0.0.1:9187") {
			t.Errorf("%q: %v", address, err)
		}
	}
}
