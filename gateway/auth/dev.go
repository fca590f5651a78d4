package auth

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
)

// ErrNotLoopback says that dev mode was to be served to other machines.
var ErrNotLoopback = errors.New("dev mode serves loopback only")

// Dev is the mode without credentials, for one's own machine: every request is user
// demo with the admin role. It serves loopback addresses only, and only requests that
// are addressed to this machine and not sent by another site's page. The zero value
// works.
//
// Every local user and program can do everything in this mode. Do not put a proxy in
// front of it that other machines reach.
type Dev struct {
	// Origins are further sites whose pages may use the gateway, such as a
	// development server of a front end.
	Origins []string
}

// DevSubject is who everybody is in dev mode.
const DevSubject = "demo"

var demo = &Principal{Subject: DevSubject, Admin: true}

// Authenticate implements Authenticator.
func (Dev) Authenticate(*http.Request) (*Principal, error) { return demo, nil }

// Token implements Authenticator: any token is user demo's.
func (Dev) Token(context.Context, string) (*Principal, error) { return demo, nil }

// Serves implements Authenticator. Its error wraps ErrNotLoopback.
func (Dev) Serves(addr net.Addr) error {
	switch a := addr.(type) {
	case *net.UnixAddr:
		return nil
	case *net.TCPAddr:
		if ip, ok := netip.AddrFromSlice(a.IP); ok && ip.Unmap().IsLoopback() {
			return nil
		}
	}
	return fmt.Errorf("%w, and %s is not: listen on 127.0.0.1, or choose another auth mode", ErrNotLoopback, addr)
}

// Site implements Authenticator.
func (d Dev) Site() Site { return Site{Loopback: true, Origins: d.Origins} }

// Announcement implements Authenticator.
func (Dev) Announcement() string {
	return "auth mode dev: everybody on this machine is user demo with the admin role"
}
