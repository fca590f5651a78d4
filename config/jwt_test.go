package config_test

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"log/slog"
	"net"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tidemark-dev/tidemark/config"
	"github.com/tidemark-dev/tidemark/gateway"
	"github.com/tidemark-dev/tidemark/gateway/auth"
)

const keysFile = `auth:
  mode: jwt
  public_url: https://jobs.example.com
  hosts: [jobs.example.com, 10.0.0.7]
  origins: [https://app.example.com]
  jwt:
    keys:
      - {id: Now, algorithm: HS256, secret: canary-canary-canary-canary-cana}
      - {id: next, algorithm: EdDSA, public_key_file: next.pem}
    issuer: https://login.example.com
    audience: tidemark
`

// writeKeys writes the two halves of a key in PEM.
func writeKeys(t *testing.T, name string, private any, public any) {
	t.Helper()
	secret, err1 := x509.MarshalPKCS8PrivateKey(private)
	shown, err2 := x509.MarshalPKIXPublicKey(public)
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	write(t, name+".key", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret})))
	write(t, name+".pem", string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: shown})))
}

func TestKeysOfTokens(t *testing.T) {
	c := loaded(t, keysFile, nil)
	want := []config.JWTKey{
		{ID: "Now", Algorithm: "HS256", Secret: "canary-canary-canary-canary-cana"},
		{ID: "next", Algorithm: "EdDSA", PublicKeyFile: "next.pem"},
	}
	if !reflect.DeepEqual(c.Auth.Keys, want) || c.Auth.Issuer != "https://login.example.com" || c.Auth.Audience != "tidemark" {
		t.Errorf("%+v", c.Auth)
	}
	if shown := effective(t, c, "auth.jwt.keys").Value; shown != `[{"id":"Now","algorithm":"HS256","secret":"xxxxx"},{"id":"next","algorithm":"EdDSA","public_key_file":"next.pem"}]` {
		t.Errorf("config print shows %s", shown)
	}
	site := c.Auth.Site()
	if !site.Public || !slices.Equal(site.Hosts, []string{"jobs.example.com", "10.0.0.7"}) || !slices.Equal(site.Origins, []string{"https://jobs.example.com", "https://app.example.com"}) {
		t.Errorf("the gateway serves %+v", site)
	}
	if err := site.Serves(&net.TCPAddr{IP: net.IPv4(192, 168, 0, 7)}); err != nil {
		t.Error(err)
	}
	if dev := loaded(t, "", nil).Auth.Site(); dev.Public || dev.Hosts != nil {
		t.Errorf("in mode dev it serves %+v", dev)
	}
	text := `[{"id":"Now","algorithm":"HS256","secret":"canary-canary-canary-canary-cana"},{"id":"next","algorithm":"EdDSA","public_key_file":"next.pem"}]`
	for name, c := range map[string]*config.Config{
		"a variable": loaded(t, "", map[string]string{"TIDEMARK_AUTH_JWT_KEYS": text, "TIDEMARK_AUTH_HOSTS": "a, b", "TIDEMARK_AUTH_MODE": "jwt", "TIDEMARK_AUTH_PUBLIC_URL": "https://a"}),
		"--set":      loaded(t, "", nil, "--set", "auth.jwt.keys="+text, "--set", "auth.hosts=a,b", "--set", "auth.mode=jwt", "--set", "auth.public_url=https://a"),
	} {
		if !reflect.DeepEqual(c.Auth.Keys, want) || !slices.Equal(c.Auth.Hosts, []string{"a", "b"}) {
			t.Errorf("from %s: %+v", name, c.Auth)
		}
	}
}

// The files are read when the gateway opens, and by `config check`.
func TestFilesOfKeys(t *testing.T) {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	wide, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := loaded(t, keysFile, nil)
	writeKeys(t, "next", private, public)
	writeKeys(t, "wide", wide, &wide.PublicKey)
	write(t, "none.pem", "canary")
	write(t, "long.pem", strings.Repeat("canary", 11_000))

	a, err := c.Auth.Open(t.Context(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	key, err := config.JWTKey{ID: "next", Algorithm: "EdDSA", PrivateKeyFile: "next.key"}.Read()
	if err != nil {
		t.Fatal(err)
	}
	token, err := key.Sign(auth.JWTClaims{Subject: "ada", Issuer: "https://login.example.com", Audience: "tidemark", Life: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	if p, err := a.Token(t.Context(), token); err != nil || p.Subject != "ada" {
		t.Errorf("%+v, %v", p, err)
	}
	for file, want := range map[string]string{
		"public_key_file: next.pem":   "",
		"private_key_file: next.key":  "",
		"public_key_file: next.key":   "next: public_key_file: it holds a private key",
		"private_key_file: next.pem":  "next: private_key_file: it holds a public key",
		"public_key_file: wide.pem":   "next: an ECDSA key on P-384: want P-256",
		"public_key_file: none.pem":   "next: public_key_file: want a key in PEM",
		"public_key_file: long.pem":   "next: public_key_file: it is larger than 64KiB",
		"private_key_file: /no/where": "next: private_key_file: open /no/where: no such file or directory",
	} {
		write(t, "tidemark.yaml", strings.Replace(keysFile, "public_key_file: next.pem", file, 1))
		c, err := config.Load(nil)
		if err != nil {
			t.Fatal(err)
		}
		opened, err := c.Auth.Open(t.Context(), slog.New(slog.DiscardHandler))
		if (want == "") != (err == nil) || err != nil && (opened != nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "canary")) {
			t.Errorf("opened with %s: %v, want %s", file, err, want)
		}
		err = c.Startable(t.Context())
		if (want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), "tidemark.yaml:7: auth.jwt.keys: "+want) {
			t.Errorf("checked with %s: %v, want %s", file, err, want)
		}
	}
}

func TestAuthThatIsRefused(t *testing.T) {
	with := func(from, to string) string {
		if !strings.Contains(keysFile, from) {
			t.Fatal(from)
		}
		return strings.Replace(keysFile, from, to, 1)
	}
	const secret, hosts = "secret: canary-canary-canary-canary-cana", "hosts: [jobs.example.com, 10.0.0.7]"
	for _, c := range []struct{ name, file, want string }{
		{"no key", "auth: {mode: jwt, public_url: 'http://h:1', hosts: [h]}\n", `tidemark.yaml:1: auth.mode "jwt": with it auth.jwt.keys, which is not set: want a key to check tokens with, or auth.jwt.jwks_url`},
		{"no public URL", with("  public_url: https://jobs.example.com\n", ""), `tidemark.yaml:2: auth.mode "jwt": with it auth.public_url, which is not set: want the origin`},
		{"no hosts", with("  "+hosts+"\n", ""), `tidemark.yaml:2: auth.mode "jwt": with it auth.hosts, which is not set: want the names that requests are addressed to, and among them jobs.example.com`},
		{"other hosts", with(hosts, "hosts: [other]"), `tidemark.yaml:4: auth.hosts "other": want the names`},
		{"a host with a port", with("10.0.0.7", "'a:80'"), `tidemark.yaml:4: auth.hosts "a:80": want a name or an address`},
		{"a host that is all", with("10.0.0.7", "'*.example.com'"), `auth.hosts "*.example.com": want a name`},
		{"a public URL with a path", with("https://jobs.example.com\n", "https://jobs.example.com/\n"), `tidemark.yaml:3: auth.public_url "https://jobs.example.com/": want the origin`},
		{"a public URL with a user", with("https://jobs.example.com\n", "https://a:canary@jobs.example.com\n"), `auth.public_url`},
		{"a public URL of another kind", with("https://jobs.example.com\n", "ws://jobs.example.com\n"), `auth.public_url "ws://jobs.example.com": want the origin`},
		{"a short secret", with(secret, "secret: canary"), "tidemark.yaml:7: auth.jwt.keys: Now: secret: want at least 32 bytes"},
		{"no secret", with(", "+secret, ""), "auth.jwt.keys: Now: secret: want at least 32 bytes"},
		{"a secret and a file", with(secret, secret+", public_key_file: a"), "auth.jwt.keys: Now: want a secret, and no file; HS256 has it"},
		{"a secret for EdDSA", with("public_key_file: next.pem", secret), "auth.jwt.keys: next: want public_key_file or private_key_file"},
		{"a secret beside a file", with("public_key_file: next.pem", "public_key_file: next.pem, "+secret), "auth.jwt.keys: next: want public_key_file or private_key_file"},
		{"two files", with("public_key_file: next.pem", "public_key_file: a, private_key_file: b"), "auth.jwt.keys: next: want public_key_file or private_key_file"},
		{"no file", with(", public_key_file: next.pem", ""), "auth.jwt.keys: next: want public_key_file or private_key_file"},
		{"another algorithm", with("EdDSA", "HS512"), `auth.jwt.keys: next: algorithm "HS512": want HS256, RS256, ES256 or EdDSA`},
		{"no id", with("id: next, ", ""), `auth.jwt.keys: id "": want 1 to 128`},
		{"one id twice", with("id: next", "id: Now"), "auth.jwt.keys: Now: another key has this id"},
		{"an unknown member", with("algorithm: HS256", "alg: HS256"), `auth.jwt.keys: item 1: unknown field "alg"; want a list of keys`},
		{"a secret that is a number", with(secret, "secret: 12345678901234567890123456789012"), "auth.jwt.keys: item 1: secret: a number where a text is wanted; put it into quotes"},
		{"a secret that is an alias", with(secret, "secret: *canary-canary"), "tidemark.yaml: not YAML: a value that begins with * or & needs quotes"},
		{"a JWK Set for any audience", with("    audience: tidemark", "    jwks_url: https://login.example.com/x"), `tidemark.yaml:11: auth.jwt.jwks_url: with it auth.jwt.audience, which is not set: want what the aud`},
		{"keys in the clear", with("    issuer:", "    jwks_url: http://u:canary@login.example.com/x\n    issuer:"), "tidemark.yaml:10: auth.jwt.jwks_url: want https://host/path"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := load(t, c.file, nil)
			if !errors.Is(err, config.ErrInvalid) || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") || strings.Contains(err.Error(), "canary") {
				t.Errorf("the error is\n\t%v\nwant one line with\n\t%s", err, c.want)
			}
		})
	}
	_, err := load(t, "", map[string]string{"TIDEMARK_AUTH_JWT_KEYS": "[{id: a, algorithm: HS256, secret: *canary}]"})
	if err == nil || !strings.Contains(err.Error(), "TIDEMARK_AUTH_JWT_KEYS: auth.jwt.keys: not YAML: a value that begins with *") || strings.Contains(err.Error(), "canary") {
		t.Errorf("from a variable: %v", err)
	}
}

// A gateway in mode dev lets everybody in, so what protects one in mode jwt must not look as if it did.
func TestModeDevTakesNothingOfTheOthers(t *testing.T) {
	for key, value := range map[string]string{
		"auth.jwt.keys": "[{id: a, algorithm: HS256, secret: canary-canary-canary-canary-cana}]", "auth.jwt.jwks_url": "https://canary.example.com/x",
		"auth.jwt.issuer": "a", "auth.jwt.audience": "a", "auth.public_url": "https://a", "auth.hosts": "a",
	} {
		_, err := load(t, "", nil, "--set", key+"="+value)
		if !errors.Is(err, config.ErrInvalid) || !strings.Contains(err.Error(), "auth.mode") || !strings.Contains(err.Error(), "want jwt, which goes with "+key+"; set it, or drop the others") || strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: %v", key, err)
		}
		if _, err := load(t, "auth:\n  mode: dev\n", nil, "--set", key+"="+value); !errors.Is(err, config.ErrInvalid) || !strings.Contains(err.Error(), `tidemark.yaml:2: auth.mode "dev": want jwt, which goes with `+key) {
			t.Errorf("%s in a mode dev that is written: %v", key, err)
		}
	}
	_, err := load(t, "", nil, "--set", "auth.jwt.issuer=a")
	if err == nil || !strings.Contains(err.Error(), `--set auth.jwt.issuer: auth.jwt.issuer "a": with it auth.mode, which is dev unless it is set: want jwt`) {
		t.Errorf("an issuer alone: %v", err)
	}
}

func TestTypesToEnqueue(t *testing.T) {
	c := loaded(t, "", nil, "--set",
		`gateway.enqueue.types=[{type: report, queue: reports, max_attempts: 2, max_payload_bytes: 64KiB}, {type: export, max_payload_bytes: 100}, {type: plain}]`)
	want := []gateway.EnqueueType{
		{Type: "report", Queue: "reports", MaxAttempts: 2, MaxPayloadBytes: 64 << 10},
		{Type: "export", Queue: "export", MaxPayloadBytes: 100}, // that of the processor
		{Type: "plain"},
	}
	if !reflect.DeepEqual(c.Gateway.EnqueueTypes, want) {
		t.Errorf("%+v\nwant\n%+v", c.Gateway.EnqueueTypes, want)
	}
	shown := effective(t, c, "gateway.enqueue.types").Value
	if shown != `[{"type":"report","queue":"reports","max_attempts":2,"max_payload_bytes":"64KiB"},{"type":"export","queue":"export","max_payload_bytes":"100"},{"type":"plain"}]` {
		t.Errorf("config print shows %s", shown)
	}
	for name, c := range map[string]*config.Config{
		"a file": loaded(t, "gateway: {enqueue: {types: "+shown+"}}\n", nil), "a variable": loaded(t, "", map[string]string{"TIDEMARK_GATEWAY_ENQUEUE_TYPES": shown}),
	} {
		if !reflect.DeepEqual(c.Gateway.EnqueueTypes, want) {
			t.Errorf("from %s: %+v", name, c.Gateway.EnqueueTypes)
		}
	}
}

func TestTypesToEnqueueThatAreRefused(t *testing.T) {
	for types, want := range map[string]string{
		"5":                                     `gateway.enqueue.types "5": no list; want a list of job types`,
		"[export]":                              "item 1: no job type; want a list of job types",
		"[{type: Export}]":                      `gateway.enqueue.types "Export": want a job type`,
		"[{type: a, queue: A}]":                 `gateway.enqueue.types "a": its queue: want`,
		"[{type: a, max_attempts: 1001}]":       `gateway.enqueue.types "a": its max_attempts: want 1 to 1000`,
		"[{type: a, max_payload_bytes: 1MiB}]":  `gateway.enqueue.types "a": its max_payload_bytes: want 1 to 262144`,
		"[{type: a, max_payload_bytes: [1]}]":   "item 1: max_payload_bytes: want a size, such as 64KiB",
		"[{type: a}, {type: b}, {type: a}]":     `gateway.enqueue.types "a": it is named twice`,
		"[{type: a, queues: b}]":                `item 1: unknown field "queues"`,
		"[{type: a, max_payload_bytes: -1KiB}]": "its max_payload_bytes: want",
	} {
		_, err := load(t, "gateway: {enqueue: {types: "+types+"}}\n", nil)
		if !errors.Is(err, config.ErrInvalid) || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s gives\n\t%v\nwant one line with\n\t%s", types, err, want)
		}
	}
}
