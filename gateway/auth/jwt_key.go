package auth

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/tidemark-dev/tidemark/internal/excerpt"
	"github.com/tidemark-dev/tidemark/internal/option"
)

// The algorithms of tokens (RFC 7518, section 3.1, and RFC 8037, section 3.1); no other is taken.
const (
	HS256 = "HS256" // HMAC with SHA-256: who checks tokens can sign them too
	RS256 = "RS256" // RSASSA-PKCS1-v1_5 with SHA-256
	ES256 = "ES256" // ECDSA on P-256 with SHA-256
	EdDSA = "EdDSA" // Ed25519
)

// Bounds of keys. A secret as long as the hash is what RFC 7518, section 3.2, wants.
const (
	MinSecretBytes = 32
	MinRSABits     = 2048
)

// A JWTKey is a key of tokens, for its algorithm alone. Its ID is what tokens name it by in their header kid:
// 1 to 128 printable characters of ASCII without spaces.
type JWTKey struct {
	ID        string
	Algorithm string
	// Secret is HS256's, at least MinSecretBytes long.
	Secret []byte
	// Public is that of the others: an *rsa.PublicKey of at least MinRSABits, an *ecdsa.PublicKey on P-256 or an
	// ed25519.PublicKey. It may be left out where there is a Private.
	Public crypto.PublicKey
	// Private is for Sign. Checking a token does not need it.
	Private crypto.Signer
}

var keyID = regexp.MustCompile(`^[!-~]{1,128}$`)

func (k JWTKey) invalid(format string, args ...any) error {
	return option.Invalid("Keys", nil, "%s: "+format, append([]any{excerpt.Of(k.ID, 80)}, args...)...)
}

// Validate checks k. Its error is an *engine.OptionError about Keys, and quotes nothing of the key but its ID.
func (k JWTKey) Validate() error {
	if err := k.ValidateName(); err != nil {
		return err
	}
	public := k.public()
	if k.Algorithm == HS256 {
		if len(k.Secret) < MinSecretBytes || public != nil {
			return k.invalid("secret: want at least %d bytes, and no other key; %s has it", MinSecretBytes, k.Algorithm)
		}
		return nil
	}
	if k.Secret != nil || public == nil {
		return k.invalid("want a public key, which %s has, and no secret", k.Algorithm)
	}
	switch algorithm, err := algorithmOf(public); {
	case err != nil:
		return k.invalid("%v", err)
	case algorithm != k.Algorithm:
		return k.invalid("it is a key for %s, and not for %s", algorithm, k.Algorithm)
	}
	return nil
}

// ValidateName checks ID and Algorithm alone, as Validate does.
func (k JWTKey) ValidateName() error {
	if !keyID.MatchString(k.ID) {
		return option.Invalid("Keys", nil, "id %q: want 1 to 128 printable characters of ASCII without spaces", excerpt.Of(k.ID, 80))
	}
	switch k.Algorithm {
	case HS256, RS256, ES256, EdDSA:
		return nil
	}
	return k.invalid("algorithm %q: want %s, %s, %s or %s", excerpt.Of(k.Algorithm, 40), HS256, RS256, ES256, EdDSA)
}

// public is the public key; nil: there is none.
func (k JWTKey) public() crypto.PublicKey {
	if k.Public == nil && k.Private != nil {
		return k.Private.Public()
	}
	return k.Public
}

// algorithmOf is the one algorithm that a public key is for.
func algorithmOf(public crypto.PublicKey) (string, error) {
	switch key := public.(type) {
	case *rsa.PublicKey:
		if bits := key.N.BitLen(); bits < MinRSABits {
			return "", fmt.Errorf("an RSA key of %d bits: want %d or more", bits, MinRSABits)
		}
		return RS256, nil
	case *ecdsa.PublicKey:
		if key.Curve != elliptic.P256() {
			return "", fmt.Errorf("an ECDSA key on %s: want P-256", key.Params().Name)
		}
		return ES256, nil
	case ed25519.PublicKey:
		return EdDSA, nil
	}
	return "", errors.New("want an RSA, ECDSA or Ed25519 key")
}

// verifies gives what verifies tokens of an algorithm.
func (k JWTKey) verifies(algorithm string) (any, error) {
	switch {
	case algorithm != k.Algorithm:
		return nil, rejected("the token's key is for another algorithm")
	case algorithm == HS256:
		return k.Secret, nil
	}
	return k.public(), nil
}

// ParseJWTKey reads a key in PEM: a public key (PKIX or PKCS #1), or a private one (PKCS #8, PKCS #1 or SEC 1),
// not encrypted. One of the two that it returns is nil. Its error quotes nothing of the text.
func ParseJWTKey(text []byte) (public crypto.PublicKey, private crypto.Signer, err error) {
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, nil, errors.New("want a key in PEM, which begins with -----BEGIN")
	}
	var key any
	switch block.Type {
	case "PUBLIC KEY":
		public, err = x509.ParsePKIXPublicKey(block.Bytes)
	case "RSA PUBLIC KEY":
		public, err = x509.ParsePKCS1PublicKey(block.Bytes)
	case "PRIVATE KEY":
		key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	case "RSA PRIVATE KEY":
		key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
	case "EC PRIVATE KEY":
		key, err = x509.ParseECPrivateKey(block.Bytes)
	default:
		return nil, nil, errors.New("want a PUBLIC KEY or a PRIVATE KEY in PEM, not encrypted")
	}
	private, signs := key.(crypto.Signer)
	if err != nil || key != nil && !signs {
		return nil, nil, errors.New("the PEM holds no key that can be read")
	}
	return public, private, nil
}

// JWTClaims are what a token says of its bearer, for JWTKey.Sign.
type JWTClaims struct {
	// Subject is the user. Required.
	Subject string
	// Grants are lists of read, enqueue and control by topic or pattern, as Grant.Topics has them. The
	// user's own topic, user:SUBJECT, is granted without.
	Grants map[string][]string
	// Roles are of RoleViewer and RoleAdmin.
	Roles []string
	// Issuer and Audience are those that the gateway wants; "" for none.
	Issuer, Audience string
	// Life is how long the token is valid, 10 seconds to MaxTokenLife.
	Life time.Duration
}

const minTokenLife = 10 * time.Second

// Sign makes a token, which is valid from now on. Its error wraps engine.ErrInvalid; a token that a gateway
// with this key would refuse is none.
func (k JWTKey) Sign(c JWTClaims) (string, error) {
	if err := errors.Join(k.Validate(), option.Within("Life", c.Life, minTokenLife, MaxTokenLife)); err != nil {
		return "", fmt.Errorf("sign a token: %w", err)
	}
	var signer any = k.Private
	if k.Algorithm == HS256 {
		signer = k.Secret
	} else if k.Private == nil {
		return "", fmt.Errorf("sign a token: %w", k.invalid("it is a public key, which cannot sign; want the private one"))
	}
	now := time.Now()
	claims := jwt.MapClaims{"sub": c.Subject, "iat": now.Unix(), "exp": now.Add(c.Life).Unix(), "jti": rand.Text()}
	set := func(name, value string) {
		if value != "" {
			claims[name] = value
		}
	}
	set("iss", c.Issuer)
	set("aud", c.Audience)
	if len(c.Grants) > 0 {
		claims["grants"] = c.Grants
	}
	if len(c.Roles) > 0 {
		claims["roles"] = c.Roles
	}
	t := jwt.NewWithClaims(jwt.GetSigningMethod(k.Algorithm), claims)
	t.Header["kid"] = k.ID
	token, err := t.SignedString(signer)
	if err != nil {
		return "", fmt.Errorf("sign a token: %w", err)
	}
	// What a gateway would say to it.
	a, err := JWT{Keys: []JWTKey{k}, Issuer: c.Issuer, Audience: c.Audience}.Open(context.Background())
	if err == nil {
		_, err = a.Token(context.Background(), token)
	}
	if err != nil {
		return "", fmt.Errorf("sign a token: %w: %s", option.ErrInvalid, strings.TrimPrefix(err.Error(), ErrRejected.Error()+": "))
	}
	return token, nil
}
