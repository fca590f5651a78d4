package config

// Health says where tidemark worker answers probes and shows its metrics. The zero value is nowhere.
type Health struct {
	// Addr is host:port. Port 0 takes a free one. "" is nowhere.
	Addr string
}

// Validate checks the form of h, not whether there is such a host.
func (h Health) Validate() error {
	if h.Addr == "" {
		return nil
	}
	return validAddr(h.Addr, "127.0.0.1:9091")
}
