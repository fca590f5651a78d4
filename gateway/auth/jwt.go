package auth

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/tidemark-dev/tidemark/internal/option"
)

// Bounds of tokens.
const (
	MaxTokenBytes = 8 << 10
	// MaxTokenLife bounds the time from a token's iat to its exp.
	MaxTokenLife = 24 * time.Hour
	// MaxTokenGrants bounds the topics and patterns of a token's grants.
	MaxTokenGrants = 100
	// ClockLeeway is how far ahead of the gateway's clock a token's iat and nbf may be. exp has
	// none: a token that has expired is refused.
	ClockLeeway = 30 * time.Second
)

// JWT is the mode of signed tokens: JSON Web Tokens (RFC 7519) in the compact form of JWS (RFC 7515), at
// most MaxTokenBytes long. A request bears one in a single Authorization header, "Bearer TOKEN"; a WebSocket
// may send one instead. The package's documentation says what a token must have. At least one of Keys and
// JWKSURL is required.
type JWT struct {
	// Keys are those that tokens may be signed with, at most 100, each with an ID of its own.
	Keys []JWTKey
	// JWKSURL is the address of a JWK Set (RFC 7517, section 5) of further keys: https, or http on this
	// machine's loopback, without user and password. Redirects are not followed, and an answer has at
	// most 1 MiB. The set is fetched again every hour, and at most once a minute when a token names an
	// unknown key. Of its keys those count that have a kid and that RS256, ES256 and EdDSA verify with;
	// others are passed over. While it cannot be fetched, or has no key that counts, known keys stay,
	// and unknown ones give ErrUnavailable.
	JWKSURL string
	// Issuer is what a token's iss must be; "": it may be anything.
	Issuer string
	// Audience is what a token's aud must be or contain; "": it may be anything. Required with JWKSURL: who
	// publishes a JWK Set signs tokens for other programs with the same keys.
	Audience string
	// Logger gets why the JWK Set could not be fetched again. Defaults to slog.Default().
	Logger *slog.Logger
}

var (
	_ Mode          = JWT{}
	_ Authenticator = (*bearers)(nil)
)

const maxKeys = 100

// Validate checks j. Its error joins an *engine.OptionError for each field that is wrong, and quotes no
// secret.
func (j JWT) Validate() error {
	var problems []error
	if len(j.Keys) == 0 && j.JWKSURL == "" {
		problems = append(problems, option.Invalid("Keys", nil, "there is no key to check tokens with; want a key, or the URL of a JWK Set"))
	}
	if len(j.Keys) > maxKeys {
		problems = append(problems, option.Invalid("Keys", nil, "%d of them; at most %d", len(j.Keys), maxKeys))
	}
	known := map[string]bool{}
	for _, k := range j.Keys {
		if err := k.Validate(); err != nil {
			problems = append(problems, err)
		} else if known[k.ID] {
			problems = append(problems, k.invalid("id: another key has it"))
		}
		known[k.ID] = true
	}
	if j.JWKSURL != "" && !fetchable(j.JWKSURL) {
		problems = append(problems, option.Invalid("JWKSURL", nil, "want https://host/path, or http:// with this machine's loopback, without user and password"))
	}
	if j.JWKSURL != "" && j.Audience == "" {
		problems = append(problems, option.Invalid("Audience", nil, "want what the aud of tokens for this gateway is: keys of a JWK Set sign tokens for other programs too"))
	}
	return errors.Join(problems...)
}

// Open implements Mode. It fetches the JWK Set, if there is one; one that cannot be fetched is an error.
func (j JWT) Open(ctx context.Context) (Authenticator, error) {
	if err := j.Validate(); err != nil {
		return nil, err
	}
	b := &bearers{keys: map[string]JWTKey{}}
	for _, k := range j.Keys {
		b.keys[k.ID] = k
	}
	if len(j.Keys) == 1 && j.JWKSURL == "" {
		one := j.Keys[0]
		b.only = &one
	}
	checks := []jwt.ParserOption{
		jwt.WithValidMethods([]string{HS256, RS256, ES256, EdDSA}), jwt.WithStrictDecoding(), jwt.WithLeeway(ClockLeeway),
	}
	if j.Issuer != "" {
		checks = append(checks, jwt.WithIssuer(j.Issuer))
	}
	if j.Audience != "" {
		checks = append(checks, jwt.WithAudience(j.Audience))
	}
	b.parser = jwt.NewParser(checks...)
	if j.JWKSURL == "" {
		return b, nil
	}
	if j.Issuer == "" {
		b.announcement = "auth mode jwt: tokens of any issuer are taken that a key of the JWK Set has signed; name yours"
	}
	log := j.Logger
	if log == nil {
		log = slog.Default()
	}
	var err error
	if b.set, err = openKeySet(ctx, j.JWKSURL, log); err != nil {
		return nil, fmt.Errorf("fetch the JWK Set: %w; check its URL, and that its server answers here", err)
	}
	return b, nil
}

// bearers are an open JWT.
type bearers struct {
	keys         map[string]JWTKey // by ID
	only         *JWTKey           // of tokens that name no key; nil: there are several
	set          *keySet           // nil: there is none
	parser       *jwt.Parser
	announcement string
}

// rejected says why ErrRejected, in words that quote nothing of the token but its subject.
func rejected(why string) error { return fmt.Errorf("%w: %s", ErrRejected, why) }

// Authenticate implements Authenticator. A request without an Authorization header has no credentials.
func (b *bearers) Authenticate(r *http.Request) (*Principal, error) {
	headers := r.Header.Values("Authorization")
	if len(headers) == 0 {
		return nil, ErrNoCredentials
	}
	scheme, token, _ := strings.Cut(headers[0], " ")
	switch {
	case len(headers) > 1:
		return nil, rejected("the Authorization header is there more than once")
	case !strings.EqualFold(scheme, "Bearer"):
		return nil, rejected("the Authorization header is of another scheme than Bearer")
	}
	return b.Token(r.Context(), strings.TrimLeft(token, " ")) // RFC 6750, section 2.1
}

// Token implements Authenticator.
func (b *bearers) Token(ctx context.Context, token string) (*Principal, error) {
	if len(token) > MaxTokenBytes {
		return nil, rejected("the token is longer than 8 KiB")
	}
	// The decoder of base64 passes over line breaks.
	if strings.ContainsAny(token, "\r\n") {
		return nil, rejected("the token has a line break")
	}
	var unknown error
	claims := jwt.MapClaims{}
	_, err := b.parser.ParseWithClaims(token, claims, func(t *jwt.Token) (key any, err error) {
		key, unknown = b.key(ctx, t)
		return key, unknown
	})
	switch {
	case unknown != nil:
		return nil, unknown
	case err != nil:
		return nil, rejected(reason(err))
	}
	p, err := principal(claims, time.Now())
	if err != nil {
		return nil, rejected(err.Error())
	}
	// Not the signature, of which ECDSA has two for each. A jti is one of its issuer's.
	name := token[:strings.LastIndexByte(token, '.')]
	if id, there := claims["jti"].(string); there {
		issuer, _ := claims["iss"].(string)
		name = fmt.Sprintf("%q %q %q", issuer, p.Subject, id)
	}
	sum := sha256.Sum256([]byte(name))
	p.Credential = "jwt:" + hex.EncodeToString(sum[:16])
	return p, nil
}

// reasons are the parser's errors in words that quote nothing. The first that applies is given.
var reasons = []struct {
	err  error
	text string
}{
	{jwt.ErrTokenMalformed, "the token is malformed"},
	{jwt.ErrTokenSignatureInvalid, "the token's algorithm or signature is not valid"},
	{jwt.ErrTokenExpired, "the token has expired"},
	{jwt.ErrTokenNotValidYet, "the token's nbf is ahead"},
	{jwt.ErrTokenInvalidIssuer, "the token's iss is another one than is wanted"},
	{jwt.ErrTokenInvalidAudience, "the token's aud is another one than is wanted"},
	{jwt.ErrTokenRequiredClaimMissing, "the token lacks iss or aud"},
}

func reason(err error) string {
	for _, r := range reasons {
		if errors.Is(err, r.err) {
			return r.text
		}
	}
	return "the token is not valid"
}

// key finds what verifies a token whose algorithm is one of the four. A key is for its own algorithm alone.
func (b *bearers) key(ctx context.Context, t *jwt.Token) (any, error) {
	// Tokens for one thing, and what other programs sign with the same key, have other types.
	kind, there := t.Header["typ"]
	if word, _ := kind.(string); there && !strings.EqualFold(word, "JWT") && !strings.EqualFold(word, "at+jwt") {
		return nil, rejected("the token's typ is neither JWT nor at+jwt")
	}
	if _, there := t.Header["crit"]; there { // RFC 7515, section 4.1.11
		return nil, rejected("the token's crit names what is not understood")
	}
	id, named := t.Header["kid"]
	if !named {
		if b.only == nil {
			return nil, rejected("the token has no kid, and there is more than one key")
		}
		return b.only.verifies(t.Method.Alg())
	}
	kid, isText := id.(string)
	if !isText {
		return nil, rejected("the token's kid is no text")
	}
	if k, there := b.keys[kid]; there {
		return k.verifies(t.Method.Alg())
	}
	if b.set == nil {
		return nil, rejected("no key has the token's kid")
	}
	return b.set.find(ctx, kid, t.Method.Alg())
}

// Announcement implements Authenticator.
func (b *bearers) Announcement() string { return b.announcement }

// Close implements Authenticator: it ends the fetching of the JWK Set.
func (b *bearers) Close() error {
	if b.set != nil {
		b.set.close()
	}
	return nil
}
