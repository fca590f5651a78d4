package auth_test

import (
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/tidemark-dev/tidemark/engine/wire"
	"github.com/tidemark-dev/tidemark/gateway/auth"
)

func TestMay(t *testing.T) {
	p := &auth.Principal{Subject: "42", Grants: []auth.Grant{
		{Topics: "user:42", Rights: auth.Read | auth.Enqueue},
		{Topics: "user:42", Rights: auth.Control},
		{Topics: "team:*", Rights: auth.Read},
	}}
	for _, c := range []struct {
		name   string
		who    *auth.Principal
		rights auth.Rights
		topic  wire.Topic
		want   bool
	}{
		{"its own", p, auth.Read, "user:42", true},
		{"rights of several grants", p, auth.Read | auth.Enqueue | auth.Control, "user:42", true},
		{"another's", p, auth.Read, "user:421", false},
		{"a kind", p, auth.Read, "team:7", true},
		{"more than the kind's grant", p, auth.Read | auth.Control, "team:7", false},
		{"a kind that begins alike", p, auth.Read, "teams:7", false},
		{"an ungranted kind", p, auth.Read, "system:all", false},
		{"an admin", &auth.Principal{Subject: "root", Admin: true}, auth.Control, "system:all", true},
		{"all topics", &auth.Principal{Subject: "x", Grants: []auth.Grant{{Topics: "*", Rights: auth.Read}}}, auth.Read, "system:all", true},
		{"nobody", nil, auth.Read, "user:42", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := c.who.May(c.rights, c.topic); got != c.want {
				t.Errorf("may %b on %s: %v, want %v", c.rights, c.topic, got, c.want)
			}
		})
	}
}

func TestSiteServesLoopbackOnly(t *testing.T) {
	for addr, want := range map[net.Addr]error{
		&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 8080}:   nil,
		&net.TCPAddr{IP: net.IPv4(127, 9, 9, 9), Port: 8080}:   nil,
		&net.TCPAddr{IP: net.IPv6loopback, Port: 8080}:         nil,
		&net.UnixAddr{Name: "/tmp/x", Net: "unix"}:             nil,
		&net.TCPAddr{IP: net.IPv4zero, Port: 8080}:             auth.ErrNotLoopback,
		&net.TCPAddr{IP: net.IPv6unspecified, Port: 8080}:      auth.ErrNotLoopback,
		&net.TCPAddr{Port: 8080}:                               auth.ErrNotLoopback,
		&net.TCPAddr{IP: net.IPv4(192, 168, 0, 7), Port: 8080}: auth.ErrNotLoopback,
		&net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 8080}:   auth.ErrNotLoopback,
	} {
		if err := (auth.Site{}).Serves(addr); !errors.Is(err, want) {
			t.Errorf("serve %s: %v, want %v", addr, err, want)
		}
		if err := (auth.Site{Public: true}).Serves(addr); err != nil {
			t.Errorf("serve %s to other machines: %v", addr, err)
		}
	}
}

func TestSiteOfThisMachine(t *testing.T) {
	site := auth.Site{Origins: []string{"http://localhost:5173"}}
	for _, c := range []struct {
		name, host, origin string
		want               error
	}{
		{"no page", "127.0.0.1:8080", "", nil},
		{"its own page", "127.0.0.1:8080", "http://127.0.0.1:8080", nil},
		{"its own page by name", "localhost:8080", "http://localhost:8080", nil},
		{"its own page over IPv6", "[::1]:8080", "http://[::1]:8080", nil},
		{"without port", "[::1]", "http://[::1]", nil},
		{"a front end's server", "localhost:8080", "http://localhost:5173", nil},
		{"another local page", "127.0.0.1:8080", "http://127.0.0.1:3000", auth.ErrOrigin},
		{"another name of this machine", "127.0.0.1:8080", "http://localhost:8080", auth.ErrOrigin},
		{"a foreign page", "127.0.0.1:8080", "https://evil.example", auth.ErrOrigin},
		{"a sandboxed page", "127.0.0.1:8080", "null", auth.ErrOrigin},
		{"its own page over TLS that there is not", "127.0.0.1:8080", "https://127.0.0.1:8080", auth.ErrOrigin},
		{"its own page with a path", "127.0.0.1:8080", "http://127.0.0.1:8080/x", auth.ErrOrigin},
		{"its own page with a slash", "127.0.0.1:8080", "http://127.0.0.1:8080/", auth.ErrOrigin},
		{"its own page with a query", "127.0.0.1:8080", "http://127.0.0.1:8080?x", auth.ErrOrigin},
		{"its own page with a user", "127.0.0.1:8080", "http://a@127.0.0.1:8080", auth.ErrOrigin},
		{"its own page without its port", "127.0.0.1:8080", "http://127.0.0.1", auth.ErrOrigin},
		{"a default port", "localhost:80", "http://localhost", nil},
		{"a host in capitals", "LOCALHOST:8080", "http://localhost:8080", nil},
		{"an origin in capitals", "localhost:8080", "HTTP://localhost:8080", auth.ErrOrigin},
		{"a front end's server over TLS", "localhost:8080", "https://localhost:5173", auth.ErrOrigin},
		{"two in one", "localhost:8080", "http://localhost:8080 http://evil.example", auth.ErrOrigin},
		{"an extension", "127.0.0.1:8080", "chrome-extension://127.0.0.1:8080", auth.ErrOrigin},
		{"a rebound name", "evil.example:8080", "http://evil.example:8080", auth.ErrHost},
		{"a name that begins alike", "localhost.evil.example", "", auth.ErrHost},
		{"an address of the network", "192.168.0.7:8080", "", auth.ErrHost},
		{"no host", "", "", auth.ErrHost},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := httptest.NewRequest(http.MethodGet, "/v1/ws", nil)
			r.Host = c.host
			if c.origin != "" {
				r.Header.Set("Origin", c.origin)
			}
			if err := site.Check(r); !errors.Is(err, c.want) {
				t.Errorf("host %q, origin %q: %v, want %v", c.host, c.origin, err, c.want)
			}
		})
	}
}

func TestSiteWithHosts(t *testing.T) {
	site := auth.Site{Public: true, Hosts: []string{"jobs.example"}}
	for host, want := range map[string]error{
		"jobs.example": nil, "JOBS.example.:443": nil, "other.example": auth.ErrHost, "localhost": auth.ErrHost,
	} {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Host = host
		if err := site.Check(r); !errors.Is(err, want) {
			t.Errorf("host %q: %v, want %v", host, err, want)
		}
	}
}

// Where a proxy ends TLS, a page of the gateway's own name that came without it is another's.
func TestSiteWithHostsHasNoOriginByItself(t *testing.T) {
	site := auth.Site{Public: true, Hosts: []string{"jobs.example", "10.0.0.7"}, Origins: []string{"https://jobs.example"}}
	for _, c := range []struct {
		host, origin string
		want         error
	}{
		{"jobs.example", "https://jobs.example", nil},
		{"10.0.0.7:8080", "https://jobs.example", nil},
		{"jobs.example", "http://jobs.example", auth.ErrOrigin},
		{"10.0.0.7:8080", "http://10.0.0.7:8080", auth.ErrOrigin},
	} {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Host = c.host
		r.Header.Set("Origin", c.origin)
		if err := site.Check(r); !errors.Is(err, c.want) {
			t.Errorf("host %q, origin %q: %v, want %v", c.host, c.origin, err, c.want)
		}
	}
}

func TestSecondOriginHeaderIsChecked(t *testing.T) {
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.Host = "localhost"
	r.Header["Origin"] = []string{"http://localhost", "https://evil.example"}
	if err := (auth.Site{}).Check(r); !errors.Is(err, auth.ErrOrigin) {
		t.Errorf("%v, want ErrOrigin", err)
	}
}

func TestOriginOverTLS(t *testing.T) {
	for origin, want := range map[string]error{
		"https://jobs.example": nil, "https://jobs.example:443": auth.ErrOrigin, "http://jobs.example": auth.ErrOrigin,
	} {
		r := httptest.NewRequest(http.MethodGet, "https://jobs.example/", nil) // with TLS
		r.Header.Set("Origin", origin)
		if err := (auth.Site{Public: true}).Check(r); !errors.Is(err, want) {
			t.Errorf("origin %q: %v, want %v", origin, err, want)
		}
	}
}

func TestPagesOfOtherSitesEmbedNothing(t *testing.T) {
	for _, c := range []struct {
		name, method, site, mode, dest, origin string
		refused                                bool
	}{
		{"a program", "GET", "", "", "", "", false},
		{"its own script", "GET", "same-origin", "cors", "empty", "", false},
		{"an address typed", "GET", "none", "navigate", "document", "", false},
		{"a foreign link", "GET", "cross-site", "navigate", "document", "", false},
		{"a foreign script", "GET", "cross-site", "no-cors", "script", "", true},
		{"a neighbour's image", "GET", "same-site", "no-cors", "image", "", true},
		{"a foreign frame", "GET", "cross-site", "navigate", "iframe", "", true},
		{"a foreign form", "POST", "cross-site", "navigate", "document", "", true},
		{"a site of the future", "GET", "same-galaxy", "no-cors", "image", "", true},
		{"a trusted page", "GET", "same-site", "websocket", "empty", "http://localhost:5173", false},
	} {
		r := httptest.NewRequest(c.method, "http://localhost:8080/v1/jobs", nil)
		for name, value := range map[string]string{"Sec-Fetch-Site": c.site, "Sec-Fetch-Mode": c.mode, "Sec-Fetch-Dest": c.dest, "Origin": c.origin} {
			if value != "" {
				r.Header.Set(name, value)
			}
		}
		if err := (auth.Site{Origins: []string{"http://localhost:5173"}}).Check(r); errors.Is(err, auth.ErrOrigin) != c.refused {
			t.Errorf("%s: %v, want refused %v", c.name, err, c.refused)
		}
	}
}

func TestProtectRefusesChangesFromOtherSites(t *testing.T) {
	p, err := auth.Site{Origins: []string{"https://app.example"}}.Protect()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, method, site, origin string
		refused                    bool
	}{
		{"a program", http.MethodPost, "", "", false},
		{"its own page", http.MethodPost, "same-origin", "", false},
		{"a foreign form", http.MethodPost, "cross-site", "", true},
		{"a neighbour's form", http.MethodPost, "same-site", "", true},
		{"an old browser", http.MethodPost, "", "https://evil.example", true},
		{"a trusted page", http.MethodPost, "cross-site", "https://app.example", false},
		{"a foreign link", http.MethodGet, "cross-site", "", false},
	} {
		r := httptest.NewRequest(c.method, "http://jobs.example/v1/jobs", nil)
		if c.site != "" {
			r.Header.Set("Sec-Fetch-Site", c.site)
		}
		if c.origin != "" {
			r.Header.Set("Origin", c.origin)
		}
		if err := p.Check(r); (err != nil) != c.refused {
			t.Errorf("%s: %v, want refused %v", c.name, err, c.refused)
		}
	}
	for _, origin := range []string{"app.example", "https://a@app.example", "https://app.example/"} {
		if _, err := (auth.Site{Origins: []string{origin}}).Protect(); err == nil {
			t.Errorf("the origin %s was taken", origin)
		}
	}
}

func TestCheckQuery(t *testing.T) {
	for target, want := range map[string]error{
		"/v1/ws":                              nil,
		"/v1/jobs?topic=user:42":              nil,
		"/v1/ws?token=abc":                    auth.ErrQueryToken,
		"/v1/jobs?topic=user:42&access_token": auth.ErrQueryToken,
		"/v1/jobs?a=1;token=abc":              auth.ErrQueryToken,
		"/v1/jobs?token=%zz":                  auth.ErrQueryToken,
		"/v1/jobs?%74oken=abc":                auth.ErrQueryToken,
		"/v1/jobs?Access_Token=abc":           auth.ErrQueryToken,
		"/v1/jobs?topic=token&tokens=1":       nil,
	} {
		if err := auth.CheckQuery(httptest.NewRequest(http.MethodGet, target, nil)); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", target, err, want)
		}
	}
}
