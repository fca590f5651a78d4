package auth

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/MicahParks/jwkset"
)

const (
	maxKeySetBytes = 1 << 20
	fetchTimeout   = 4 * time.Second // less than the 5 s that a gateway gives a check
	fetchInterval  = time.Hour
	// fetchAgain is the least time between two fetches for keys that are not known.
	fetchAgain = time.Minute
)

// fetchable reports whether keys from an address can be trusted.
func fetchable(address string) bool {
	u, err := url.Parse(address)
	return err == nil && u.Hostname() != "" && u.User == nil && (u.Scheme == "https" || u.Scheme == "http" && loopbackName(u.Hostname()))
}

// A keySet is the keys of a JWK Set, which one goroutine fetches every hour, and when find wants it.
type keySet struct {
	address string
	client  *http.Client
	log     *slog.Logger
	cancel  context.CancelFunc // of all fetching
	wanted  chan struct{}      // for run
	done    chan struct{}      // closed when run has returned

	mu     sync.Mutex
	keys   []JWTKey      // as they were fetched last
	failed error         // why the last fetch failed; nil: it did not
	flight chan struct{} // closed when the fetch that find wanted has ended; nil: none is under way
	asked  time.Time     // when that was wanted last
}

// openKeySet fetches the set, within ctx.
func openKeySet(ctx context.Context, address string, log *slog.Logger) (*keySet, error) {
	s := &keySet{address: address, log: log, wanted: make(chan struct{}, 1), done: make(chan struct{})}
	s.client = &http.Client{
		Transport: &http.Transport{
			Proxy: http.ProxyFromEnvironment, DialContext: (&net.Dialer{Timeout: fetchTimeout}).DialContext,
			ForceAttemptHTTP2: true, DisableKeepAlives: true, MaxResponseHeaderBytes: 64 << 10,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	if err := s.fetch(ctx); err != nil {
		return nil, err
	}
	var live context.Context
	live, s.cancel = context.WithCancel(context.WithoutCancel(ctx))
	go s.run(live)
	return s, nil
}

func (s *keySet) run(ctx context.Context) {
	defer close(s.done)
	hourly := time.NewTicker(fetchInterval)
	defer hourly.Stop()
	for {
		var landed chan struct{}
		select {
		case <-ctx.Done():
			return
		case <-hourly.C:
		case <-s.wanted:
			s.mu.Lock()
			landed = s.flight
			s.mu.Unlock()
		}
		if err := s.fetch(ctx); err != nil && ctx.Err() == nil {
			s.log.Warn("the JWK Set cannot be fetched; the keys that are known stay", "error", err)
		}
		if landed != nil {
			s.mu.Lock()
			close(landed)
			s.flight = nil
			s.mu.Unlock()
		}
	}
}

// close ends all fetching.
func (s *keySet) close() {
	s.cancel()
	<-s.done
}

// fetch fetches the set. Where it cannot, known keys stay.
func (s *keySet) fetch(ctx context.Context) error {
	keys, err := s.get(ctx)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failed = err; err == nil {
		s.keys = keys
	}
	return err
}

// get asks for the set. Its error says nothing of the address.
func (s *keySet) get(ctx context.Context) ([]JWTKey, error) {
	within, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	r, err := http.NewRequestWithContext(within, http.MethodGet, s.address, nil)
	if err != nil {
		return nil, errors.New("its URL is none")
	}
	resp, err := s.client.Do(r)
	if asking := (*url.Error)(nil); errors.As(err, &asking) {
		err = asking.Err
	}
	if err != nil {
		return nil, unanswered(ctx, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK { // a redirect, too
		return nil, fmt.Errorf("its server answers with %d", resp.StatusCode)
	}
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxKeySetBytes+1))
	switch {
	case err != nil:
		return nil, unanswered(ctx, err)
	case len(text) > maxKeySetBytes:
		return nil, errors.New("it has more than 1 MiB")
	}
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if json.Unmarshal(text, &set) != nil || set.Keys == nil {
		return nil, errors.New("its server's answer is no JWK Set")
	}
	var keys []JWTKey
	for _, text := range set.Keys {
		if k, usable := publicKey(text); usable {
			keys = append(keys, k)
		}
	}
	if len(keys) == 0 {
		return nil, errors.New("it has no key with a kid for RS256, ES256 or EdDSA")
	}
	return keys, nil
}

// unanswered words why there is no answer, or no whole one.
func unanswered(ctx context.Context, err error) error {
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("its server does not answer within %s", fetchTimeout)
	}
	return err
}

// publicKey reads a key of a set. Those that tokens cannot be signed with are passed over, as RFC 7517, section 5, has it:
// what is malformed, has another type or use, has no ID, or publishes its private part.
func publicKey(text []byte) (k JWTKey, usable bool) {
	var says jwkset.JWKMarshal
	if json.Unmarshal(text, &says) != nil || says.KID == "" || says.D != "" ||
		says.USE != "" && says.USE != jwkset.UseSig || len(says.KEYOPS) > 0 && !slices.Contains(says.KEYOPS, jwkset.KeyOpsVerify) {
		return JWTKey{}, false
	}
	// The certificates that a key may have say nothing here.
	read, err := jwkset.NewJWKFromMarshal(
		jwkset.JWKMarshal{KTY: says.KTY, CRV: says.CRV, X: says.X, Y: says.Y, N: says.N, E: says.E},
		jwkset.JWKMarshalOptions{}, jwkset.JWKValidateOptions{})
	if err != nil {
		return JWTKey{}, false
	}
	k = JWTKey{ID: says.KID, Public: read.Key()}
	k.Algorithm, err = algorithmOf(k.Public)
	return k, err == nil && (says.ALG == "" || says.ALG.String() == k.Algorithm)
}

// find gives the key that verifies tokens with a kid. Where there is none, all that ask wait for one fetch.
func (s *keySet) find(ctx context.Context, kid, algorithm string) (any, error) {
	for {
		key, landed, err := s.known(kid, algorithm)
		if landed == nil {
			return key, err
		}
		select {
		case <-landed:
		case <-s.done:
			return nil, fmt.Errorf("%w: the gateway is stopping", ErrUnavailable)
		case <-ctx.Done():
			return nil, fmt.Errorf("%w: the JWK Set is being fetched", ErrUnavailable)
		}
	}
}

// known is a key of the set as it was fetched last. Where there is none with the kid, the set is fetched, unless it was
// less than a minute ago, and landed is closed when that has ended.
func (s *keySet) known(kid, algorithm string) (key any, landed <-chan struct{}, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	named := false
	for _, k := range s.keys {
		if k.ID != kid {
			continue
		}
		if named = true; k.Algorithm == algorithm {
			return k.Public, nil, nil
		}
	}
	switch {
	case named:
		return nil, nil, rejected("the token's key is for another algorithm")
	case s.flight != nil:
		return nil, s.flight, nil
	case s.asked.IsZero() || time.Since(s.asked) >= fetchAgain:
		s.asked, s.flight = time.Now(), make(chan struct{})
		s.wanted <- struct{}{} // run has taken the one before
		return nil, s.flight, nil
	case s.failed != nil:
		return nil, nil, fmt.Errorf("%w: the token's key is not known, and the JWK Set cannot be fetched: %w", ErrUnavailable, s.failed)
	}
	return nil, nil, rejected("no key has the token's kid")
}
