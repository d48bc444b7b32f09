package pgautoctl

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"

	"github.com/pgrun/pgrun/runtime/builtin"
	"github.com/pgrun/pgrun/runtime/host"
	"github.com/pgrun/pgrun/runtime/secret"
)

type uriParams struct {
	Database string `star:"database,required" doc:"The database."`
	server
	User               string       `star:"user,required" doc:"The role."`
	Password           builtin.Text `star:"password" doc:"Its password. Left out, the client takes it from elsewhere, such as a passfile."`
	Formation          string       `star:"formation" doc:"Name of the formation."`
	SSLMode            string       `star:"ssl_mode" doc:"How the client checks the server."`
	SSLRootCert        string       `star:"ssl_root_cert" doc:"The authority's certificate, where the client runs."`
	TargetSessionAttrs string       `star:"target_session_attrs" doc:"Which server will do: read-write, standby, prefer-standby, any, ..."`
	ConnectTimeout     int          `star:"connect_timeout" doc:"Seconds after which the client tries the next server."`
}

func uri(ctx context.Context, r host.Reader, p uriParams) (builtin.Text, error) {
	if err := p.validate(); err != nil {
		return builtin.Text{}, err
	}
	f, err := p.readFormation(ctx, r, p.Formation)
	if err != nil {
		return builtin.Text{}, err
	}
	if len(f.Nodes) == 0 {
		return builtin.Text{}, host.NotThere("the formation %q has no data node yet", f.Name)
	}
	servers := make([]string, len(f.Nodes))
	for i, n := range f.Nodes {
		servers[i] = joinHostPort(n.Host, n.Port)
	}
	// url.URL would not take more than one server.
	text := fmt.Sprintf("%s/%s", strings.Join(servers, ","), url.PathEscape(p.Database))
	separator := "?"
	for _, option := range []struct{ name, value string }{
		{"target_session_attrs", p.TargetSessionAttrs}, {"sslmode", p.SSLMode}, {"sslrootcert", p.SSLRootCert}, {"connect_timeout", strconv.Itoa(p.ConnectTimeout)},
	} {
		if option.value != "" && option.value != "0" {
			text += separator + option.name + "=" + queryEscape(option.value)
			separator = "&"
		}
	}
	user := url.User(p.User).String()
	if p.Password.Reveal() == "" {
		return builtin.Plain("postgresql://" + user + "@" + text), nil
	}
	with := "postgresql://" + url.UserPassword(p.User, p.Password.Reveal()).String() + "@" + text
	if !p.Password.IsSecret() {
		return builtin.Secret(with), nil
	}
	return builtin.Derived(with, "postgresql://"+user+":"+secret.Hidden+"@"+text), nil
}

// queryEscape escapes a value as libpq reads it, to which + is a plus sign, and leaves a path readable.
func queryEscape(s string) string {
	return strings.NewReplacer("+", "%20", "%2F", "/").Replace(url.QueryEscape(s))
}

type monitorURIParams struct {
	PGData string `star:"pgdata,required" doc:"The monitor's data directory."`
}

func monitorURI(ctx context.Context, r host.Reader, p monitorURIParams) (string, error) {
	files, err := layoutOf(ctx, r, p.PGData)
	if err != nil {
		return "", err
	}
	settings, err := readSettings(ctx, r, files)
	if err != nil {
		return "", err
	}
	if role := settings["pg_autoctl.role"]; role != "monitor" {
		return "", fmt.Errorf("pgdata: %s is that of a %s, not of a monitor", p.PGData, role)
	}
	port, err := strconv.Atoi(settings["postgresql.port"])
	if err != nil {
		return "", fmt.Errorf("%s: postgresql.port: %w", files.settings(), err)
	}
	return uriOfMonitor(settings["pg_autoctl.hostname"], port, settings["ssl.sslmode"], settings["ssl.ca_file"]), nil
}

func joinHostPort(hostname string, port int) string {
	return net.JoinHostPort(hostname, strconv.Itoa(port))
}
