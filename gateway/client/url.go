package client

import (
	"errors"
	"net/url"
	"strings"
)

// URLForm says which addresses ParseURL takes.
const URLForm = "http://host[:port] or https://host[:port], without a user, a query or a fragment"

var errURL = errors.New("want " + URLForm)

// ParseURL checks the address of a gateway. It may have a path, under which a proxy
// serves it, and no credentials: addresses end up in logs and lists of processes. The
// error does not quote the address.
func ParseURL(s string) (*url.URL, error) {
	u, err := url.Parse(s)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Hostname() == "" ||
		u.User != nil || u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || strings.ContainsAny(s, "?#@") {
		return nil, errURL
	}
	u.Path = strings.TrimRight(u.Path, "/")
	u.RawPath = ""
	return u, nil
}
