package gateway_test

import (
	"bytes"
	"context"
	"encoding/json"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"runtime/pprof"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/olahol/melody"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/gateway"
)

// profileVariable names a folder into which servers write a CPU profile of what was
// measured.
const profileVariable = "TIDEMARK_BENCH_PROFILE"

// memory is a process's resident memory in bytes: after a collection, as a server has
// it a moment after its connections came, and after what was free went back to the
// kernel too.
type memory struct{ Collected, Freed int }

func resident(none) (memory, error) {
	var m memory
	runtime.GC()
	runtime.GC() // what pools held is free after the second
	var err error
	if m.Collected, err = residentNow(); err != nil {
		return m, err
	}
	debug.FreeOSMemory()
	m.Freed, err = residentNow()
	return m, err
}

func residentNow() (int, error) {
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0, err
	}
	pages, err := strconv.Atoi(strings.Fields(string(text))[1])
	return pages * os.Getpagesize(), err
}

// A meter measures the processor time of its process.
type meter struct {
	role   string
	before time.Duration
	file   *os.File
}

func cpu() (time.Duration, error) {
	var u syscall.Rusage
	err := syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()), err
}

func (m *meter) start(what string) (none, error) {
	var err error
	if dir := os.Getenv(profileVariable); dir != "" {
		m.file, err = os.Create(filepath.Join(dir, m.role+"-"+what+".pprof"))
		if err == nil {
			err = pprof.StartCPUProfile(m.file)
		}
		if err != nil {
			return none{}, err
		}
	}
	m.before, err = cpu()
	return none{}, err
}

func (m *meter) stop(none) (time.Duration, error) {
	now, err := cpu()
	if m.file != nil {
		pprof.StopCPUProfile()
		if err := m.file.Close(); err != nil {
			return 0, err
		}
		m.file = nil
	}
	return now - m.before, err
}

// A serving says what a gateway serves.
type serving struct {
	URL, Namespace string
	Connections    int
}

func listenLocally() (net.Listener, error) {
	return (&net.ListenConfig{}).Listen(context.Background(), "tcp", "127.0.0.1:0")
}

// unasked is a time between pings within which a benchmark ends: its clients answer
// none, since the idle ones do not read.
const unasked = 10 * time.Minute

// A gatewayRole is the process that is measured. It has the defaults of a gateway, but
// all connections are one user's, and unasked.
type gatewayRole struct {
	meter   meter
	gateway *gateway.Gateway
}

func (g *gatewayRole) deeds() map[string]deed {
	g.meter.role = "gateway"
	return map[string]deed{
		"serve": deedOf(g.serve), "memory": deedOf(resident), "start": deedOf(g.meter.start), "stop": deedOf(g.meter.stop),
		"held": deedOf(g.held),
	}
}

func (g *gatewayRole) serve(s serving) (string, error) {
	e, err := engine.Open(context.Background(), engine.Options{URL: s.URL, Namespace: s.Namespace, Logger: quiet()})
	if err != nil {
		return "", err
	}
	gw, err := gateway.New(gateway.Options{Engine: e, Logger: quiet(), ConnectionsPerPrincipal: s.Connections, PingInterval: unasked, StallTimeout: unasked})
	g.gateway = gw
	if err != nil {
		return "", err
	}
	l, err := listenLocally()
	if err != nil {
		return "", err
	}
	return l.Addr().String(), gw.Start(l)
}

// A bareRole is Melody as it comes, with an index of who follows what: what the
// transport alone costs. It broadcasts what a client publishes.
type bareRole struct {
	meter  meter
	mu     sync.Mutex
	topics map[string][]*melody.Session
	replay []byte // what a subscriber missed; nil: nothing
}

func (r *bareRole) deeds() map[string]deed {
	r.meter.role = "bare"
	return map[string]deed{
		"serve": deedOf(r.serve), "memory": deedOf(resident), "start": deedOf(r.meter.start), "stop": deedOf(r.meter.stop),
	}
}

func (r *bareRole) serve(serving) (string, error) {
	r.topics = map[string][]*melody.Session{}
	m := melody.New()
	m.Config.MaxMessageSize = 1 << 20
	m.Config.PingPeriod, m.Config.PongWait = unasked, 2*unasked
	m.Upgrader.Subprotocols = []string{"tidemark.v1"}
	// What cannot be written or served is missed by the clients, which count and then fail
	// the benchmark: the errors below say nothing more.
	m.HandleConnect(func(s *melody.Session) { _ = s.Write([]byte(`{"type":"welcome"}`)) })
	m.HandleMessage(r.hear)
	l, err := listenLocally()
	if err != nil {
		return "", err
	}
	go func() {
		_ = http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) { _ = m.HandleRequest(w, q) }))
	}()
	return l.Addr().String(), nil
}

// hear takes a subscribe frame, "publish", a topic and a text, or "replay" and a text.
func (r *bareRole) hear(s *melody.Session, text []byte) {
	verb, rest, _ := bytes.Cut(text, []byte(" "))
	switch string(verb) {
	case "publish":
		topic, text, _ := bytes.Cut(rest, []byte(" "))
		r.mu.Lock()
		sessions := r.topics[string(topic)]
		r.mu.Unlock()
		for _, s := range sessions {
			_ = s.Write(text)
		}
	case "replay":
		r.mu.Lock()
		r.replay = rest
		r.mu.Unlock()
		_ = s.Write([]byte(`{"type":"live"}`))
	default:
		var m struct{ Topic string }
		if err := json.Unmarshal(text, &m); err != nil {
			return
		}
		r.mu.Lock()
		r.topics[m.Topic] = append(r.topics[m.Topic], s)
		replay := r.replay
		r.mu.Unlock()
		if replay != nil {
			_ = s.Write(replay)
		}
		_ = s.Write([]byte(`{"type":"live"}`))
	}
}
