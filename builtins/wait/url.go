package wait

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/pgrun/pgrun/runtime/builtin"
	"github.com/pgrun/pgrun/runtime/host"
)

type urlParams struct {
	URL      string                         `star:"url,required" doc:"http or https URL, as seen from the host."`
	Status   int                            `star:"status" doc:"HTTP status to wait for."`
	Contains builtin.Optional[string]       `star:"contains" doc:"Text that the answer must contain."`
	CA       builtin.Optional[builtin.Text] `star:"ca" doc:"Certificates (PEM) to trust in place of those that the machine pgrun runs on trusts."`
	pace
}

// maxAnswer bounds how much of an answer is searched.
const maxAnswer = 1 << 20

func fetch(ctx context.Context, r host.Reader, p urlParams) (time.Duration, error) {
	u, err := url.Parse(p.URL)
	switch {
	case err != nil:
		return 0, fmt.Errorf("url cannot be parsed: %w", errors.Unwrap(err))
	case u.Scheme != "http" && u.Scheme != "https", u.Host == "":
		return 0, fmt.Errorf("url %q: want one of http or https, with a host", u.Redacted())
	case p.Status < 100 || p.Status > 599:
		return 0, fmt.Errorf("status %d is none of HTTP's: want 100 to 599", p.Status)
	}
	client, err := p.client(r)
	if err != nil {
		return 0, err
	}
	defer client.CloseIdleConnections()
	return p.until(ctx, u.Redacted()+" answering "+p.expected(), func(ctx context.Context) error {
		return p.get(ctx, client)
	})
}

func (p urlParams) expected() string {
	if p.Contains.Set {
		return fmt.Sprintf("%d with %q", p.Status, p.Contains.Value)
	}
	return strconv.Itoa(p.Status)
}

// client connects from the host.
func (p urlParams) client(r host.Reader) (*http.Client, error) {
	var trust tls.Config
	if p.CA.Set {
		trust.RootCAs = x509.NewCertPool()
		if !trust.RootCAs.AppendCertsFromPEM([]byte(p.CA.Value.Reveal())) {
			return nil, errors.New("ca holds no certificate in PEM form")
		}
	}
	return &http.Client{
		Transport: &http.Transport{
			TLSClientConfig:   &trust,
			DisableKeepAlives: true, // a service that was restarted is asked on a new connection
			DialContext: func(ctx context.Context, _, address string) (net.Conn, error) {
				return r.Dial(ctx, "tcp", address, "")
			},
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}, nil
}

// get fetches the URL once and says what is not as expected.
func (p urlParams) get(ctx context.Context, client *http.Client) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.URL, nil)
	if err != nil {
		return err
	}
	req.Header.Set("User-Agent", "pgrun")
	resp, err := client.Do(req)
	if err != nil {
		var wrapped *url.Error // its text begins with the URL, which is named already
		if errors.As(err, &wrapped) {
			err = wrapped.Err
		}
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != p.Status {
		return fmt.Errorf("the status is %s", resp.Status)
	}
	if !p.Contains.Set {
		return nil
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err == nil && !strings.Contains(string(body), p.Contains.Value) {
		err = fmt.Errorf("its answer of %d bytes does not contain it", len(body))
	}
	return err
}
