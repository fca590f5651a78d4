package config

import (
	"net"
	"strconv"

	"github.com/tidemark-dev/tidemark/internal/option"
)

// Listen says where the gateway listens. The zero value works.
type Listen struct {
	// Addr is host:port. Port 0 takes a free one. Defaults to 127.0.0.1:8080.
	Addr string
}

// Defaults returns l with every zero field set to its default.
func (l Listen) Defaults() Listen {
	if l.Addr == "" {
		l.Addr = "127.0.0.1:8080"
	}
	return l
}

// Validate checks the form of l as Defaults completes it, not whether there is such a
// host.
func (l Listen) Validate() error {
	return validAddr(l.Defaults().Addr, "127.0.0.1:8080")
}

// validAddr checks the form of an Addr. Its error names an example.
func validAddr(addr, example string) error {
	_, port, err := net.SplitHostPort(addr)
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	if err != nil {
		return option.Invalid("Addr", addr, "want host:port, such as %s, with a port up to 65535", example)
	}
	return nil
}
