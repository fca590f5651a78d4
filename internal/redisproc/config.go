package redisproc

import (
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Values of [Config.Fsync].
const (
	FsyncEverySecond = "everysec" // up to about a second is lost with the power
	FsyncAlways      = "always"   // a write is on the disk before its reply
	FsyncNever       = "no"       // the operating system decides
)

// Config says how a server is started. Only Dir is required.
type Config struct {
	// Path is the server's program. Defaults to what [Find] finds.
	Path string

	// Dir is the server's folder; it is made with mode 0700 when missing.
	Dir string

	// Socket is the file name, inside Dir, of the Unix socket to listen on.
	// Empty: TCP on 127.0.0.1 instead.
	Socket string

	// Port is the TCP port, 1 to 65535; for a Cluster node at most 55535, since
	// the bus listens 10,000 above. 0 picks a free one and keeps it over
	// restarts. Not allowed beside Socket.
	Port int

	// AppendOnly keeps an append-only file. Without it the data end with the
	// process.
	AppendOnly bool

	// Fsync is one of the Fsync constants. Defaults to FsyncEverySecond.
	Fsync string

	// MaxMemoryBytes bounds the data; a write beyond it fails or evicts,
	// according to Policy. 0: no bound.
	MaxMemoryBytes int64

	// Policy is maxmemory-policy. Defaults to "noeviction".
	Policy string

	// ReplicaOf is the "host:port" of the primary. Empty: a primary.
	ReplicaOf string

	// Cluster starts a Cluster node that knows no other node and has no slots.
	Cluster bool

	// Sentinel, when set, starts a Sentinel instead of a data server.
	Sentinel *Sentinel

	// Settings are further lines of redis.conf, after all others; the last
	// line of a name wins.
	Settings []string

	// Env are further variables of the server's environment, NAME=value. For tests.
	Env []string

	// DieWithParent has the kernel kill the server when this process ends in
	// whatever way (Linux only; elsewhere it has no effect). For tests, whose
	// time-out ends the process without any clean-up.
	DieWithParent bool

	// StartTimeout bounds how long a server may stay silent after its start.
	// While it answers that it is loading its data, the clock stands still.
	// Defaults to 20 s.
	StartTimeout time.Duration

	// StopTimeout is how long [Process.Stop] waits before it kills. Defaults
	// to 10 s.
	StopTimeout time.Duration
}

// Sentinel says what a Sentinel watches.
type Sentinel struct {
	Master          string        // the name of the group, say "mymaster"
	Addr            string        // "host:port" of the present primary; an IP
	Quorum          int           // Sentinels that must agree, at least 1
	DownAfter       time.Duration // silence that counts as down; defaults to 30 s
	FailoverTimeout time.Duration // defaults to 3 min
}

func (c Config) withDefaults() Config {
	if c.Fsync == "" {
		c.Fsync = FsyncEverySecond
	}
	if c.Policy == "" {
		c.Policy = "noeviction"
	}
	if c.StartTimeout == 0 {
		c.StartTimeout = 20 * time.Second
	}
	if c.StopTimeout == 0 {
		c.StopTimeout = 10 * time.Second
	}
	if c.Sentinel != nil {
		s := *c.Sentinel
		if s.DownAfter == 0 {
			s.DownAfter = 30 * time.Second
		}
		if s.FailoverTimeout == 0 {
			s.FailoverTimeout = 3 * time.Minute
		}
		c.Sentinel = &s
	}
	return c
}

func (c Config) validate() error {
	maxPort := 65535
	if c.Cluster {
		maxPort -= busOffset
	}
	switch {
	case c.Dir == "":
		return errors.New("redis server: Dir is empty; name a folder")
	case c.Socket != filepath.Base(c.Socket) && c.Socket != "":
		return fmt.Errorf("redis server: Socket is %q; it must be a file name without a folder", c.Socket)
	case c.Socket != "" && (c.Port != 0 || c.Cluster || c.Sentinel != nil):
		return errors.New("redis server: Socket excludes Port, Cluster and Sentinel; set one of them")
	case c.Port < 0 || c.Port > maxPort:
		return fmt.Errorf("redis server: Port is %d; it must be between 0 and %d", c.Port, maxPort)
	case c.MaxMemoryBytes < 0:
		return fmt.Errorf("redis server: MaxMemoryBytes is %d; it must be 0 or more", c.MaxMemoryBytes)
	case c.StartTimeout < 0 || c.StopTimeout < 0:
		return errors.New("redis server: StartTimeout and StopTimeout must be 0 or more")
	case c.Fsync != "" && c.Fsync != FsyncEverySecond && c.Fsync != FsyncAlways && c.Fsync != FsyncNever:
		return fmt.Errorf("redis server: Fsync is %q; it must be %s, %s or %s",
			c.Fsync, FsyncEverySecond, FsyncAlways, FsyncNever)
	}
	if c.ReplicaOf != "" {
		if _, _, err := net.SplitHostPort(c.ReplicaOf); err != nil {
			return fmt.Errorf("redis server: ReplicaOf is %q; it must be host:port: %w", c.ReplicaOf, err)
		}
	}
	if s := c.Sentinel; s != nil {
		if _, _, err := net.SplitHostPort(s.Addr); err != nil || s.Master == "" || s.Quorum < 1 {
			return fmt.Errorf("redis server: Sentinel %+v needs Master, Addr as host:port and a Quorum of at least 1", *s)
		}
	}
	return nil
}

// render writes redis.conf. Paths in it are relative: the server's working
// folder is Dir, which spares quoting and the limit on a socket path's length.
func (c Config) render(port int, daemon bool) string {
	var b strings.Builder
	set := func(name string, values ...string) {
		b.WriteString(name)
		for _, v := range values {
			b.WriteString(" " + quote(v))
		}
		b.WriteByte('\n')
	}
	set("port", strconv.Itoa(port))
	set("dir", ".")
	if c.Socket != "" {
		set("unixsocket", c.Socket)
		set("unixsocketperm", "700")
	} else {
		set("bind", "127.0.0.1")
	}
	if daemon {
		// A daemon's standard output is /dev/null.
		set("daemonize", "yes")
		set("pidfile", "redis.pid")
		set("logfile", logName)
	}
	if c.Sentinel != nil {
		c.renderSentinel(set)
	} else {
		c.renderData(set)
	}
	for _, line := range c.Settings {
		b.WriteString(line + "\n")
	}
	return b.String()
}

func (c Config) renderData(set func(string, ...string)) {
	set("save", "")
	set("appendonly", yesNo(c.AppendOnly))
	set("appendfsync", c.Fsync)
	set("maxmemory", strconv.FormatInt(c.MaxMemoryBytes, 10))
	set("maxmemory-policy", c.Policy)
	if c.ReplicaOf != "" {
		host, port, _ := net.SplitHostPort(c.ReplicaOf) // validate has parsed it
		set("replicaof", host, port)
	}
	if c.Cluster {
		set("cluster-enabled", "yes")
		set("cluster-config-file", "nodes.conf")
		set("cluster-node-timeout", "1500")
	}
}

func (c Config) renderSentinel(set func(string, ...string)) {
	s := c.Sentinel
	host, port, _ := net.SplitHostPort(s.Addr) // validate has parsed it
	ms := func(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) }
	set("sentinel", "monitor", s.Master, host, port, strconv.Itoa(s.Quorum))
	set("sentinel", "down-after-milliseconds", s.Master, ms(s.DownAfter))
	set("sentinel", "failover-timeout", s.Master, ms(s.FailoverTimeout))
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// quote writes a value as redis.conf reads it; bytes that are not plain are
// escaped.
func quote(v string) string {
	var b strings.Builder
	b.WriteByte('"')
	for i := range len(v) {
		if c := v[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			fmt.Fprintf(&b, `\x%02x`, c)
		} else {
			b.WriteByte(c)
		}
	}
	b.WriteByte('"')
	return b.String()
}
