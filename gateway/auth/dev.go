package auth

import (
	"context"
	"net/http"
)

// Dev is the mode without credentials, for one's own machine: every request is user
// demo with the admin role. It goes with a Site of this machine alone, and a gateway takes
// it with no other. It is its own Authenticator, and has nothing to open or close.
//
// Every local user and program can do everything in this mode. Do not put a proxy in
// front of it that other machines reach.
type Dev struct{}

var (
	_ Mode          = Dev{}
	_ Authenticator = Dev{}
)

// DevSubject is who everybody is in dev mode.
const DevSubject = "demo"

var demo = &Principal{Subject: DevSubject, Admin: true}

// Open implements Mode.
func (d Dev) Open(context.Context) (Authenticator, error) { return d, nil }

// Authenticate implements Authenticator.
func (Dev) Authenticate(*http.Request) (*Principal, error) { return demo, nil }

// Token implements Authenticator: any token is user demo's.
func (Dev) Token(context.Context, string) (*Principal, error) { return demo, nil }

// Announcement implements Authenticator.
func (Dev) Announcement() string {
	return "auth mode dev: everybody on this machine is user demo with the admin role"
}

// Close implements Authenticator.
func (Dev) Close() error { return nil }
