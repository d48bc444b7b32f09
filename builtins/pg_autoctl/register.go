package pgautoctl

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/pgrun/pgrun/runtime/builtin"
	"github.com/pgrun/pgrun/runtime/host"
)

type registerParams struct {
	Hosts builtin.HostList `star:"hosts,required" doc:"The data nodes' hosts."`
	registry
	PGData          string `star:"pgdata,required" doc:"The data nodes' data directory."`
	MonitorHostname string `star:"monitor_hostname,required" doc:"The monitor's hostname: the address by which the nodes reach it."`
	MonitorPort     int    `star:"monitor_port" doc:"Port by which the nodes reach it."`
	SSLCAFile       string `star:"ssl_ca_file,required" doc:"The authority's certificate, on the data nodes."`
	SSLMode         string `star:"ssl_mode" doc:"How the nodes check the monitor."`
	Service         string `star:"service" doc:"The systemd service that runs pg_autoctl on the data nodes."`
}

// stray is a data node that runs, and that the monitor does not know, or does not hear of.
type stray struct {
	host     builtin.Host
	name     string
	primary  bool
	row      *Node // what the monitor has of it, from a registration that was cut off
	disabled bool  // its keeper works without a monitor
}

// deaf reports whether a stray is registered as it should be, and only its keeper has not read that yet.
func (s stray) deaf() bool { return s.row != nil && !s.disabled }

func checkRegister(ctx context.Context, r host.Reader, p registerParams) (*builtin.Change, error) {
	if err := errors.Join(checkAddress("monitor_hostname", p.MonitorHostname), checkPath("ssl_ca_file", p.SSLCAFile), checkService(p.Service)); err != nil {
		return nil, err
	}
	f, err := p.read(ctx, r)
	if err != nil {
		return nil, err
	}
	strays, err := p.strays(ctx, f)
	if err != nil || len(strays) == 0 {
		return nil, err
	}
	if strays, err = f.inOrder(strays); err != nil {
		return nil, err
	}
	change := &builtin.Change{}
	for _, s := range strays {
		change.Summary = append(change.Summary, s.summary(p))
	}
	change.Apply = func(ctx context.Context, h host.Host) error {
		for _, s := range strays {
			if err := p.register(ctx, h, s); err != nil {
				return fmt.Errorf("%s: %w", s.name, err)
			}
		}
		return nil
	}
	return change, nil
}

// strays looks for strays on all hosts at once.
func (p registerParams) strays(ctx context.Context, f formation) (strays []stray, _ error) {
	found := make([]*stray, len(p.Hosts))
	looks, inner := errgroup.WithContext(ctx)
	for i, h := range p.Hosts {
		looks.Go(func() (err error) {
			if found[i], err = p.strayOn(inner, h, f); err != nil {
				err = fmt.Errorf("%s: %w", h.Name, err)
			}
			return err
		})
	}
	err := looks.Wait()
	for _, s := range found {
		if s != nil {
			strays = append(strays, *s)
		}
	}
	return strays, err
}

// inOrder puts the primary first: the monitor takes the first node of a formation for that. Two that take
// writes, or none, are for a person to look at.
func (f formation) inOrder(strays []stray) ([]stray, error) {
	slices.SortStableFunc(strays, func(a, b stray) int {
		switch {
		case a.primary == b.primary:
			return 0
		case a.primary:
			return -1
		}
		return 1
	})
	known := f.primary()
	first := strays[0]
	switch {
	case len(strays) > 1 && strays[1].primary:
		return nil, fmt.Errorf("hosts: both %s and %s take writes, and the monitor knows neither: of the one with the older data, stop the service and move the data away", first.name, strays[1].name)
	case first.primary && known != nil && known.Name != first.name:
		return nil, fmt.Errorf("hosts: %s takes writes, and the monitor does not know it, but has %s as the primary. Where the data of %s is older: stop its service and move its data away. "+
			"Where that of %s is: drop it with pg_autoctl.drop, stop its service and move its data away; then run again", first.name, known.Name, first.name, known.Name)
	case !first.primary && known == nil:
		return nil, fmt.Errorf("hosts: %s is a standby, and neither the monitor nor the hosts have its primary: start the primary first. "+
			"If that is lost for good, and no other standby has newer data, promote this one, with SELECT pg_promote() in its PostgreSQL, and run again", first.name)
	}
	return strays, nil
}

func (s stray) summary(p registerParams) string {
	role := "standby"
	if s.primary {
		role = "primary"
	}
	if s.deaf() {
		return fmt.Sprintf("let the %s %s read that it is registered", role, s.name)
	}
	instead := ""
	if s.row != nil {
		instead = ", in place of a registration that was cut off"
	}
	return fmt.Sprintf("register the %s %s with the monitor at %s%s", role, s.name, joinHostPort(p.MonitorHostname, p.MonitorPort), instead)
}

// strayOn looks for a stray on a host. One without a node, or where it is still being created, has none. One whose node
// the monitor does not know and that does not run is an error: it may be the one with the data, and without it another
// would be made the first node, with an empty cluster.
func (p registerParams) strayOn(ctx context.Context, on builtin.Host, f formation) (*stray, error) {
	r, err := on.Reader()
	if err != nil {
		return nil, err
	}
	files, err := layoutOf(ctx, r, p.PGData)
	if host.Missing(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	marks, err := files.marks(ctx, r)
	if err != nil {
		return nil, err
	}
	if !marks.finished() {
		return nil, service(p.Service).taken(ctx, r, p.PGData)
	}
	settings, err := readSettings(ctx, r, files)
	if err != nil {
		return nil, err
	}
	name := settings["pg_autoctl.name"]
	s := &stray{host: on, name: name, row: f.find(name), disabled: settings["pg_autoctl.monitor"] == monitorDisabled}
	if s.deaf() && s.row.ReportAge < alive {
		return nil, nil
	}
	if err := service(p.Service).taken(ctx, r, p.PGData); err != nil {
		return nil, err
	}
	if s.row == nil {
		if creating, err := service(p.Service).creating(ctx, r); err != nil || creating {
			return nil, err
		}
		if none, err := files.cutOff(ctx, r); err != nil || none {
			return nil, err
		}
	}
	active, err := activeState(ctx, r, p.Service)
	if err != nil {
		return nil, err
	}
	if active != "active" {
		if s.deaf() {
			return nil, nil // it is silent because it is down, as the monitor knows
		}
		return nil, fmt.Errorf("it holds the data node %s, which the monitor does not know, or not any more, and %s is %s. %s", name, p.Service, active, ifUnknown(service(p.Service), files))
	}
	port, err := strconv.Atoi(settings["postgresql.port"])
	if err != nil {
		return nil, fmt.Errorf("%s: postgresql.port: %w", files.settings(), err)
	}
	m, err := server{Port: port, Socket: p.Socket}.readMember(ctx, r)
	if s.deaf() && host.Missing(err) {
		return nil, nil // it is silent because it is down, as the monitor knows
	}
	s.primary = !m.InRecovery
	return s, err
}

// monitorDisabled stands in a node's settings in place of the monitor's URI.
const monitorDisabled = "PG_AUTOCTL_DISABLED"

// ifUnknown says what to do about a node that the monitor does not know. One that is only started asks the monitor,
// takes itself for dropped and remembers that for ever, which is why it has to leave the monitor first.
func ifUnknown(s service, files layout) string {
	return fmt.Sprintf("If its data is the formation's (the monitor is a new one): before you start it, run on the host: runuser -u postgres -- pg_autoctl disable monitor --force --pgdata %s; "+
		"systemctl start %s; and then pg_autoctl.register. "+
		"If the node was dropped, or its creation cut off: leave its host out, or to let it join again, move %s away and remove %s and %s",
		files.pgdata, s, files.pgdata, files.state(), files.settings())
}

// readPause is longer than a keeper takes to read its settings again. One that is told so twice at once
// does it once, and may then have read the older.
const readPause = 3 * time.Second

// register makes a node leave the monitor that it has, and join the new one in the role that it has.
func (p registerParams) register(ctx context.Context, monitor host.Host, s stray) error {
	h, err := s.host.Writer()
	if err != nil {
		return err
	}
	autoctl := func(ctx context.Context, args ...string) error {
		return service(p.Service).autoctl(ctx, h, p.PGData, append(args, "--pgdata", p.PGData)...)
	}
	if !s.deaf() {
		if s.row != nil {
			if err := p.call(ctx, monitor, `SELECT pgautofailover.remove_node($1, $2, true)`, s.row.Host, s.row.Port); err != nil {
				return err
			}
		}
		if !s.disabled {
			if err := autoctl(ctx, "disable", "monitor", "--force"); err != nil {
				return err
			}
			if err := host.Pause(ctx, readPause); err != nil {
				return err
			}
		}
		if err := autoctl(ctx, "enable", "monitor", uriOfMonitor(p.MonitorHostname, p.MonitorPort, p.SSLMode, p.SSLCAFile)); err != nil {
			return err
		}
	}
	told := time.Now()
	return p.await(ctx, monitor, "registration of "+s.name, func(f formation) error {
		n := f.find(s.name)
		switch {
		case n == nil:
			return errors.New("the monitor does not know it yet")
		case n.ReportAge > 2*readPause && time.Since(told) > readPause:
			told = time.Now()
			return errors.Join(fmt.Errorf("it reported last %s ago", n.ReportAge), autoctl(ctx, "reload"))
		case !n.in("single", "primary", "wait_primary", "secondary") || n.ReportAge > 2*readPause:
			return fmt.Errorf("it is %s", n.states())
		}
		return nil
	})
}
