package auth

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"

	"github.com/tidemark-dev/tidemark/internal/excerpt"
)

// Why a request is refused before anybody asks who it is from.
var (
	// ErrHost: it is addressed to a name that is not the gateway's, as after DNS
	// rebinding.
	ErrHost = errors.New("the Host is not one of this gateway's")
	// ErrOrigin: a page of another site sends it.
	ErrOrigin = errors.New("the Origin is not one that this gateway serves")
)

// A Site is what requests may be addressed to and which pages may send them.
type Site struct {
	// Loopback takes only hosts that name this machine: localhost, 127.0.0.0/8, ::1.
	Loopback bool
	// Hosts are the names, without port, that requests may be addressed to; none:
	// any, which is for a gateway whose credentials a browser does not send by itself,
	// or behind a proxy that checks.
	Hosts []string
	// Origins are further sites whose pages may use the gateway, each as
	// scheme://host[:port]. The gateway's own origin always may.
	Origins []string
}

// Check refuses a request by its Host and Origin. Its error wraps ErrHost or
// ErrOrigin. A request without Origin does not come from a page of another site that
// could read the answer; what changes something is held to more, see Protect.
func (s Site) Check(r *http.Request) error {
	if !s.servesHost(r.Host) {
		return fmt.Errorf("%w: %q", ErrHost, clip(r.Host))
	}
	for _, origin := range r.Header.Values("Origin") {
		if !s.servesOrigin(origin, r.Host) {
			return fmt.Errorf("%w: %q", ErrOrigin, clip(origin))
		}
	}
	return nil
}

func (s Site) servesHost(hostport string) bool {
	if !s.Loopback && len(s.Hosts) == 0 {
		return true
	}
	name := hostname(hostport)
	if s.Loopback && loopbackName(name) {
		return true
	}
	for _, h := range s.Hosts {
		if strings.EqualFold(h, name) {
			return true
		}
	}
	return false
}

func (s Site) servesOrigin(origin, host string) bool {
	for _, o := range s.Origins {
		if strings.EqualFold(o, origin) {
			return true
		}
	}
	u, err := url.Parse(origin)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
		return false // "null" among them
	}
	return strings.EqualFold(u.Host, host)
}

// Protect refuses changes that a page of another site asks for, by Sec-Fetch-Site and
// Origin. Its error says which origin is not one of Origins.
func (s Site) Protect() (*http.CrossOriginProtection, error) {
	p := http.NewCrossOriginProtection()
	for _, o := range s.Origins {
		if err := p.AddTrustedOrigin(o); err != nil {
			return nil, fmt.Errorf("origin %q: want scheme://host[:port]: %w", o, err)
		}
	}
	return p, nil
}

func hostname(hostport string) string {
	host, _, err := net.SplitHostPort(hostport)
	if err != nil {
		host = strings.TrimSuffix(strings.TrimPrefix(hostport, "["), "]")
	}
	return strings.TrimSuffix(host, ".")
}

func loopbackName(name string) bool {
	if strings.EqualFold(name, "localhost") {
		return true
	}
	ip, err := netip.ParseAddr(name)
	return err == nil && ip.Zone() == "" && ip.Unmap().IsLoopback()
}

func clip(s string) string { return excerpt.Of(s, 120) }
