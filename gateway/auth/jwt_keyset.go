package auth

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/MicahParks/jwkset"
	"github.com/MicahParks/keyfunc/v3"
	"golang.org/x/time/rate"
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

// A keySet is the keys of a JWK Set. keyfunc fetches it, every hour and when find has it fetched.
type keySet struct {
	keys   keyfunc.Keyfunc
	cancel context.CancelFunc // of all fetching
	wanted chan string        // key IDs, for run
	done   chan struct{}      // closed when run has returned

	mu     sync.Mutex
	flight chan struct{} // closed when the fetch that is under way has ended; nil: none is
	asked  time.Time     // when the last fetch for an unknown key began
	failed error         // why the last fetch failed; nil: it did not
}

// openKeySet fetches the set, within ctx.
func openKeySet(ctx context.Context, address string, log *slog.Logger) (*keySet, error) {
	live, cancel := context.WithCancel(context.WithoutCancel(ctx))
	s := &keySet{cancel: cancel, wanted: make(chan string, 1), done: make(chan struct{})}
	stop := context.AfterFunc(ctx, cancel)
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.DisableKeepAlives = true
	must := false // the first fetch must succeed
	var err error
	s.keys, err = keyfunc.NewDefaultOverrideCtx(live, []string{address}, keyfunc.Override{
		Client:                    &http.Client{Transport: bounded{transport}},
		HTTPTimeout:               fetchTimeout,
		RateLimitWaitMax:          fetchTimeout, // of a fetch for an unknown key, too
		NoErrorReturnFirstHTTPReq: &must,
		RefreshInterval:           fetchInterval,
		RefreshUnknownKID:         rate.NewLimiter(rate.Inf, 1), // find has the bound
		RefreshErrorHandlerFunc: func(string) func(context.Context, error) {
			return func(_ context.Context, err error) { s.fail(fault(err), log) }
		},
	})
	switch {
	case !stop():
		err = context.Cause(ctx)
	case err != nil:
		err = fault(err)
	case len(s.usable(ctx)) == 0:
		err = errors.New("it has no key with a kid for RS256, ES256 or EdDSA")
	}
	if err != nil {
		cancel()
		return nil, err
	}
	go s.run(live)
	return s, nil
}

// run fetches the set for unknown keys.
func (s *keySet) run(ctx context.Context) {
	defer close(s.done)
	for {
		select {
		case <-ctx.Done():
			return
		case kid := <-s.wanted:
			// It fetches where it does not find the key, which is looked for again by find.
			_, _ = s.keys.Storage().KeyRead(ctx, kid)
			s.mu.Lock()
			close(s.flight)
			s.flight = nil
			s.mu.Unlock()
		}
	}
}

func (s *keySet) close() {
	s.cancel()
	<-s.done
}

// fail notes that a fetch has failed.
func (s *keySet) fail(err error, log *slog.Logger) {
	s.mu.Lock()
	s.failed = err
	s.mu.Unlock()
	log.Warn("the JWK Set cannot be fetched; the keys that are known stay", "error", err)
}

// find gives the key that verifies tokens with a kid. Where there is none, all that ask wait for one fetch.
func (s *keySet) find(ctx context.Context, kid, algorithm string) (any, error) {
	if key, err := s.known(ctx, kid, algorithm); key != nil || err != nil {
		return key, err
	}
	if landed := s.fetch(kid); landed != nil {
		select {
		case <-landed:
		case <-ctx.Done():
			return nil, fmt.Errorf("%w: the JWK Set is being fetched", ErrUnavailable)
		}
		if key, err := s.known(ctx, kid, algorithm); key != nil || err != nil {
			return key, err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failed != nil {
		return nil, fmt.Errorf("%w: the token's key is not known, and the JWK Set cannot be fetched: %w", ErrUnavailable, s.failed)
	}
	return nil, rejected("no key has the token's kid")
}

// fetch has the set fetched, or joins the fetch that is under way. It returns what is closed when that has
// ended; nil where the last one was too short a time ago.
func (s *keySet) fetch(kid string) <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.flight != nil {
		return s.flight
	}
	if !s.asked.IsZero() && time.Since(s.asked) < fetchAgain {
		return nil
	}
	s.asked, s.failed, s.flight = time.Now(), nil, make(chan struct{})
	s.wanted <- kid // run takes it before there is another flight
	return s.flight
}

// known is a key of the set as it was fetched last; nil: it has none with the kid.
func (s *keySet) known(ctx context.Context, kid, algorithm string) (any, error) {
	other := false
	for _, k := range s.usable(ctx) {
		if k.ID == kid && k.Algorithm == algorithm {
			return k.Public, nil
		}
		other = other || k.ID == kid
	}
	if other {
		return nil, rejected("the token's key is for another algorithm")
	}
	return nil, nil
}

// usable are the keys of the set that tokens may be signed with: public ones, whose own alg and use allow it.
func (s *keySet) usable(ctx context.Context) []JWTKey {
	var all []JWTKey
	set, _ := s.keys.Storage().KeyReadAll(ctx) // of memory
	for _, k := range set {
		says := k.Marshal()
		algorithm, err := algorithmOf(k.Key())
		if err == nil && says.KID != "" && (says.ALG == "" || says.ALG.String() == algorithm) && (says.USE == "" || says.USE == jwkset.UseSig) {
			all = append(all, JWTKey{ID: says.KID, Algorithm: algorithm, Public: k.Key()})
		}
	}
	return all
}

// bounded refuses answers that are no JWK Set for certain.
type bounded struct{ next http.RoundTripper }

func (b bounded) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := b.next.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK { // a redirect, too
		resp.Body.Close()
		return nil, fmt.Errorf("its server answers with %d", resp.StatusCode)
	}
	resp.Body = http.MaxBytesReader(nil, resp.Body, maxKeySetBytes)
	return resp, nil
}

// fault words why a fetch has failed, without the address.
func fault(err error) error {
	var asking *url.Error
	var long *http.MaxBytesError
	switch {
	case errors.As(err, &asking):
		return asking.Err
	case errors.As(err, &long):
		return errors.New("it has more than 1 MiB")
	}
	return errors.New("its server's answer is no JWK Set, or one with a malformed key")
}
