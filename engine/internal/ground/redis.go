package ground

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/tidemark-dev/tidemark/engine/wire"
	"github.com/tidemark-dev/tidemark/internal/excerpt"
)

// ParseURL is engine.ParseURL.
func ParseURL(address string) (*redis.UniversalOptions, error) {
	o, err := parseURL(address)
	if err != nil && strings.Contains(address, "@") {
		// The parser's error would quote its input, which may contain a password.
		return nil, fmt.Errorf("%w Redis URL: cannot parse it; percent-encode what is no letter or digit in its password, and see the forms in docs/configuration.md", wire.ErrInvalid)
	}
	return o, err
}

func parseURL(address string) (*redis.UniversalOptions, error) {
	scheme, rest, ok := strings.Cut(address, "://")
	if !ok {
		return nil, fmt.Errorf("%w Redis URL: want redis://host:port/db, unix:///path.sock, redis+sentinel://… or redis+cluster://…", wire.ErrInvalid)
	}
	secure, kind, several := strings.Cut(scheme, "+")
	if !several {
		o, err := redis.ParseURL(address)
		if err != nil {
			return nil, fmt.Errorf("%w Redis URL: %s", wire.ErrInvalid, withoutURL(err))
		}
		return &redis.UniversalOptions{
			Addrs: []string{o.Addr}, DB: o.DB, Username: o.Username, Password: o.Password, TLSConfig: o.TLSConfig,
			ClientName: o.ClientName, Protocol: o.Protocol, MaxRetries: o.MaxRetries, MinRetryBackoff: o.MinRetryBackoff,
			MaxRetryBackoff: o.MaxRetryBackoff, DialTimeout: o.DialTimeout, ReadTimeout: o.ReadTimeout,
			WriteTimeout: o.WriteTimeout, PoolFIFO: o.PoolFIFO, PoolSize: o.PoolSize, PoolTimeout: o.PoolTimeout,
			MinIdleConns: o.MinIdleConns, MaxIdleConns: o.MaxIdleConns, MaxActiveConns: o.MaxActiveConns,
			ConnMaxIdleTime: o.ConnMaxIdleTime, ConnMaxLifetime: o.ConnMaxLifetime,
		}, nil
	}
	if (secure != "redis" && secure != "rediss") || (kind != "sentinel" && kind != "cluster") {
		return nil, fmt.Errorf("%w Redis URL: scheme %q: want redis, rediss, unix, redis+sentinel, rediss+sentinel, redis+cluster or rediss+cluster", wire.ErrInvalid, excerpt.Of(scheme, 40))
	}

	o := &redis.UniversalOptions{}
	authority, path, _ := strings.Cut(rest, "/")
	if at := strings.LastIndex(authority, "@"); at >= 0 {
		user, password, _ := strings.Cut(authority[:at], ":")
		var err1, err2 error
		o.Username, err1 = url.PathUnescape(user)
		o.Password, err2 = url.PathUnescape(password)
		if err1 != nil || err2 != nil {
			return nil, fmt.Errorf("%w Redis URL: the user or the password is not percent-encoded", wire.ErrInvalid)
		}
		authority = authority[at+1:]
	}
	for host := range strings.SplitSeq(authority, ",") {
		if _, _, err := net.SplitHostPort(host); err != nil {
			return nil, fmt.Errorf("%w Redis URL: host %q: want host:port", wire.ErrInvalid, excerpt.Of(host, 80))
		}
		o.Addrs = append(o.Addrs, host)
	}
	if secure == "rediss" {
		o.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	if kind == "cluster" {
		if path != "" {
			return nil, fmt.Errorf("%w Redis URL: Redis Cluster has one database; drop %q", wire.ErrInvalid, excerpt.Of("/"+path, 40))
		}
		o.IsClusterMode = true
		return o, nil
	}
	master, db, _ := strings.Cut(path, "/")
	if master == "" {
		return nil, fmt.Errorf("%w Redis URL: Sentinel needs its master's name: redis+sentinel://host:port/master", wire.ErrInvalid)
	}
	o.MasterName = master
	if db != "" {
		n, err := strconv.Atoi(db)
		if err != nil || n < 0 {
			return nil, fmt.Errorf("%w Redis URL: database %q: want a number", wire.ErrInvalid, excerpt.Of(db, 40))
		}
		o.DB = n
	}
	return o, nil
}

// withoutURL removes the address, and so the password, from an error of net/url.
func withoutURL(err error) string {
	if e := (*url.Error)(nil); errors.As(err, &e) {
		return e.Err.Error()
	}
	return strings.TrimPrefix(err.Error(), "redis: ")
}

// connect returns a client whose connections are registered in all. The client honours the
// deadlines of a context, and sends nothing on connecting that a Redis 6.2, Valkey or miniredis
// does not know.
func connect(o redis.UniversalOptions, all *Connections) redis.UniversalClient {
	o.ContextTimeoutEnabled = true
	o.DisableIdentity = true
	if o.DialerRetries == 0 {
		// The client repeats calls by itself. Repeated dials inside each of them would only delay
		// the error that Redis is away.
		o.DialerRetries = 1
	}
	o.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	if len(o.Addrs) > 1 && o.MasterName == "" {
		o.IsClusterMode = true
	}
	return all.of(redis.NewUniversalClient(&o))
}

// Failure wraps an error of a call to Redis in one to branch on.
func Failure(doing string, err error) error {
	switch {
	case err == nil:
		return nil
	case redis.IsOOMError(err), strings.Contains(err.Error(), "OOM command not allowed"):
		return fmt.Errorf("%s: %w", doing, wire.ErrOutOfMemory)
	case errors.Is(err, redis.ErrClosed):
		return fmt.Errorf("%s: %w", doing, ErrClosed)
	case Away(err):
		return fmt.Errorf("%s: %w: %w", doing, wire.ErrUnreachable, err)
	}
	return fmt.Errorf("%s: %w", doing, err)
}

// Away reports whether err may pass by itself when Redis comes back.
func Away(err error) bool {
	var network net.Error
	switch {
	case errors.As(err, &network), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF),
		errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE),
		errors.Is(err, syscall.ENOENT), errors.Is(err, net.ErrClosed), errors.Is(err, os.ErrDeadlineExceeded),
		errors.Is(err, redis.ErrPoolTimeout), errors.Is(err, context.DeadlineExceeded):
		return true
	}
	if redis.IsLoadingError(err) || redis.IsReadOnlyError(err) || redis.IsMasterDownError(err) || redis.IsMaxClientsError(err) || redis.IsNoReplicasError(err) {
		return true
	}
	if rearranged(err) {
		return true
	}
	text := err.Error()
	for _, s := range awayTexts {
		if strings.Contains(text, s) {
			return true
		}
	}
	return false
}

// rearranged reports whether Redis Cluster refused a call because a slot is moving to another node,
// or because no node serves the slot until a failover ends.
func rearranged(err error) bool {
	_, moved := redis.IsMovedError(err)
	_, ask := redis.IsAskError(err)
	return moved || ask || redis.IsTryAgainError(err) || redis.IsClusterDownError(err)
}

// Patiently repeats a call while Redis Cluster rearranges its slots, for at most
// Options.CommitTimeout and as long as ctx lasts. do must allow repetition. Its error is do's last
// one.
func (g *Ground) Patiently(ctx context.Context, do func() error) error {
	ctx, cancel := context.WithTimeout(ctx, g.Opts.CommitTimeout)
	defer cancel()
	for delay := 10 * time.Millisecond; ; delay = min(2*delay, 200*time.Millisecond) {
		err := do()
		if err == nil || !rearranged(err) {
			return err
		}
		select {
		case <-time.After(delay):
		case <-ctx.Done():
			return err
		}
	}
}

var awayTexts = []string{
	// Sentinel and Cluster clients return plain texts when they find no server.
	"all sentinels", "sentinels specified", "cluster has no nodes", "connection pool",
	// Proxies and scripts put words before a refusal's code.
	"READONLY", "NOREPLICAS", "MISCONF", "MASTERDOWN", "BUSY ", "UNBLOCKED", "is shutting down",
	// asynq keeps only the text of its client's error.
	"connection refused", "connection reset", "broken pipe", "i/o timeout", "closed network connection",
}
