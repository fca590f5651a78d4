package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/tidemark-dev/tidemark/engine/wire"
	"github.com/tidemark-dev/tidemark/internal/option"
)

// Options say which gateway a Client speaks to. Only URL is required.
type Options struct {
	// URL is the gateway's address, in the form that ParseURL takes. Required.
	URL string

	// Token goes into the Authorization header of every request. "": none.
	Token string

	// RequestTimeout is how long a request may take that is neither a WebSocket nor
	// an upload, how long a WebSocket may take to open, and how much longer than the
	// time between two pings it may be silent, 10 ms to 10 minutes. Defaults to 20
	// seconds. A WebSocket that is silent for 8 seconds is asked whether it is there, and
	// given up after 13.
	RequestTimeout time.Duration

	// BackoffMin and BackoffMax bound the wait for a gateway that is away: a random
	// part of BackoffMin, then of twice as much with each try. 1 ms to 10 minutes.
	// Default to 1 and 30 seconds, as the protocol asks.
	BackoffMin time.Duration
	BackoffMax time.Duration

	// StallTimeout is how long an upload may move no byte before its request is given
	// up and gone on with by another, 10 ms to 10 minutes. Defaults to 30 seconds.
	StallTimeout time.Duration
}

// Defaults returns o with every zero field set to its default.
func (o Options) Defaults() Options {
	option.Default(&o.RequestTimeout, 20*time.Second)
	option.Default(&o.BackoffMin, time.Second)
	option.Default(&o.BackoffMax, 30*time.Second)
	option.Default(&o.StallTimeout, 30*time.Second)
	return o
}

// Validate checks o as Defaults completes it. Its error wraps wire.ErrInvalid.
func (o Options) Validate() error {
	o = o.Defaults()
	const least, most = time.Millisecond, 10 * time.Minute
	_, address := ParseURL(o.URL)
	if address != nil {
		address = fmt.Errorf("%w URL: %w", wire.ErrInvalid, address)
	}
	return errors.Join(address,
		option.Within("RequestTimeout", o.RequestTimeout, 10*least, most),
		option.Within("BackoffMin", o.BackoffMin, least, most),
		option.Within("BackoffMax", o.BackoffMax, o.BackoffMin, most),
		option.Within("StallTimeout", o.StallTimeout, 10*least, most),
	)
}

// A Client speaks to one gateway. Its methods may be called concurrently. New makes
// one; Close ends it.
type Client struct {
	opts Options
	base *url.URL
	http *http.Client
	// partBytes is how much of an upload passes a proxy in one request, once one has
	// refused more; 0: no bound is known.
	partBytes atomic.Int64
}

// New makes a client. It does not connect. Its error wraps wire.ErrInvalid.
func New(o Options) (*Client, error) {
	o = o.Defaults()
	if err := o.Validate(); err != nil {
		return nil, err
	}
	base, err := ParseURL(o.URL)
	if err != nil {
		return nil, err
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	return &Client{opts: o, base: base, http: &http.Client{
		Transport: transport,
		// A gateway sends no redirects; a server that does must not get the token.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

// Close closes connections that are idle. Iterators of Follow are ended by their
// contexts.
func (c *Client) Close() error {
	c.http.CloseIdleConnections()
	return nil
}

// Address is the gateway's, without a slash at its end.
func (c *Client) Address() string { return c.base.String() }

// at is the address of a path, whose segments are escaped already.
func (c *Client) at(path string) string { return c.base.String() + path }

func (c *Client) request(ctx context.Context, method, address string, body io.Reader) (*http.Request, error) {
	r, err := http.NewRequestWithContext(ctx, method, address, body)
	if err != nil {
		return nil, err
	}
	r.Header = c.header()
	return r, nil
}

func (c *Client) header() http.Header {
	h := http.Header{"User-Agent": {"tidemark"}}
	if c.opts.Token != "" {
		h.Set("Authorization", "Bearer "+c.opts.Token)
	}
	return h
}

// send sends a request and turns every answer but a success into an error.
func (c *Client) send(r *http.Request) (*http.Response, error) {
	answer, err := c.http.Do(r)
	if err != nil {
		return nil, c.unreachable(r.Context(), err)
	}
	if answer.StatusCode < 200 || answer.StatusCode > 299 {
		err := problemOf(answer)
		return nil, errors.Join(err, answer.Body.Close())
	}
	return answer, nil
}

// unreachable says why there was no answer.
func (c *Client) unreachable(ctx context.Context, err error) error {
	cause := context.Cause(ctx)
	if cause != nil && !errors.Is(cause, errTook) {
		return cause
	}
	var of *url.Error
	if errors.As(err, &of) {
		err = of.Err // without the address, which is said once
	}
	if errors.Is(cause, errTook) {
		err = cause
	}
	return fmt.Errorf("%w at %s: %w", ErrUnreachable, c.Address(), err)
}

var errTook = errors.New("no answer in time")

// call makes a request of JSON, with a body or nil, and reads the answer into a value,
// or nil.
func (c *Client) call(ctx context.Context, method, path string, body, into any) error {
	_, err := c.exchange(ctx, method, path, body, into)
	return err
}

// exchange is call that also tells the status of the answer.
func (c *Client) exchange(ctx context.Context, method, path string, body, into any) (int, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, c.opts.RequestTimeout, errTook)
	defer cancel()
	var sent io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return 0, err
		}
		sent = bytes.NewReader(b)
	}
	r, err := c.request(ctx, method, c.at(path), sent)
	if err != nil {
		return 0, err
	}
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	answer, err := c.send(r)
	if err != nil {
		return 0, err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		return 0, c.unreachable(ctx, err)
	}
	if into == nil {
		return answer.StatusCode, nil
	}
	if err := json.Unmarshal(text, into); err != nil {
		if !strings.HasPrefix(answer.Header.Get("Content-Type"), "application/json") {
			return 0, fmt.Errorf("%w: %s %s; check the address", ErrProtocol, method, path)
		}
		return 0, fmt.Errorf("%w: %s %s: %w", ErrProtocol, method, path, err)
	}
	return answer.StatusCode, nil
}
