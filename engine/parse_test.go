package engine_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/internal/redistest"
)

var (
	goodTopics  = []string{"user:42", "team:7", "system:all", "a:b", "a-1:A.b_c@d-e", "k" + strings.Repeat("x", 31) + ":" + strings.Repeat("n", 128)}
	badTopics   = []string{"", ":", "user", "user:", ":42", "User:42", "1user:42", "user:4 2", "user:42\n", "user:ä", "user:{1}", "user:4:2", "k" + strings.Repeat("x", 32) + ":n", "k:" + strings.Repeat("n", 129), "user:\x00"}
	goodCursors = []string{"0-0", "1-1", "1795196553479-57", "9007199254740992-9007199254740992"}
	badCursors  = []string{"", "-", "1", "1-", "-1", "$", "+", "1-1-1", "01-1", "1-01", "+1-1", "1- 1", "1-1\n", "a-b", "9007199254740993-1", "1-99999999999999999999", "１-1"}
	goodJobIDs  = []string{"0001JD0000000000000000000000", "997ZZZZZZZZZZZZZZZZZZZZZZZZZ"}
	badJobIDs   = []string{"", "00", "0x01JD000000000000000000000", "0001jd0000000000000000000000", "0001JD000000000000000000000", "0001JD00000000000000000000000", "0081JD0000000000000000000000", "0001JD000000000000000000000U", "0001JD00000000000000000000{}", "-101JD0000000000000000000000"}
)

func TestFormsAreChecked(t *testing.T) {
	check := func(kind string, good, bad []string, parse func(string) (string, error), sentinel error) {
		for _, s := range good {
			if got, err := parse(s); err != nil || got != s {
				t.Errorf("%s %q: %q, %v", kind, s, got, err)
			}
		}
		for _, s := range bad {
			if got, err := parse(s); !errors.Is(err, sentinel) || got != "" {
				t.Errorf("%s %q: %q, %v; want %v", kind, s, got, err, sentinel)
			}
		}
		_, err := parse(strings.Repeat("x", 10_000))
		if err == nil || len(err.Error()) > 400 {
			t.Errorf("%s of 10,000 bytes: an error of %d", kind, len(err.Error()))
		}
	}
	check("topic", goodTopics, badTopics, func(s string) (string, error) { v, err := engine.ParseTopic(s); return string(v), err }, engine.ErrInvalidTopic)
	check("cursor", goodCursors, badCursors, func(s string) (string, error) { v, err := engine.ParseCursor(s); return string(v), err }, engine.ErrInvalidCursor)
	check("job ID", goodJobIDs, badJobIDs, func(s string) (string, error) { v, err := engine.ParseJobID(s); return string(v), err }, engine.ErrInvalidJobID)
}

// FuzzForms holds whatever a form lets through against what the keys and the scripts
// rely on.
func FuzzForms(f *testing.F) {
	for _, list := range [][]string{goodTopics, badTopics, goodCursors, badCursors, goodJobIDs, badJobIDs} {
		for _, s := range list {
			f.Add(s)
		}
	}
	f.Fuzz(func(t *testing.T, s string) {
		if topic, err := engine.ParseTopic(s); err == nil {
			if string(topic) != s || strings.ContainsAny(s, "\"\\{} \n,") || strings.Count(s, ":") != 1 {
				t.Errorf("topic %q", s)
			}
		}
		if c, err := engine.ParseCursor(s); err == nil {
			if ms, n, _ := strings.Cut(s, "-"); string(c) != s || c.N() > 1<<53 || msOf(c) > 1<<53 || ms == "" || n == "" {
				t.Errorf("cursor %q: n %d", s, c.N())
			}
		}
		if id, err := engine.ParseJobID(s); err == nil {
			if string(id) != s || len(s) != 28 || strings.Trim(s, "0123456789ABCDEFGHJKMNPQRSTVWXYZ") != "" {
				t.Errorf("job ID %q", s)
			}
		}
	})
}

func TestRedisURLs(t *testing.T) {
	for _, c := range []struct {
		url      string
		addrs    string
		user     string
		password string
		master   string
		db       int
		tls      bool
		cluster  bool
	}{
		{url: "redis://127.0.0.1:6379/0", addrs: "127.0.0.1:6379"},
		{url: "redis://example.org", addrs: "example.org:6379"},
		{url: "redis://:secret@h:1/3", addrs: "h:1", password: "secret", db: 3},
		{url: "redis://u:p%40%2F%3A%23%3F%25@h:1", addrs: "h:1", user: "u", password: "p@/:#?%"},
		{url: "rediss://h:1", addrs: "h:1", tls: true},
		{url: "unix:///run/redis.sock?db=2", addrs: "/run/redis.sock", db: 2},
		{url: "unix://u:p@/run/redis.sock", addrs: "/run/redis.sock", user: "u", password: "p"},
		{url: "redis+sentinel://a:1,b:2/main", addrs: "a:1 b:2", master: "main"},
		{url: "redis+sentinel://u:p%40%2F%2C%3A@a:1,b:2/main/4", addrs: "a:1 b:2", user: "u", password: "p@/,:", master: "main", db: 4},
		{url: "rediss+sentinel://:p@a:1/main", addrs: "a:1", password: "p", master: "main", tls: true},
		{url: "redis+cluster://a:1,b:2,[::1]:3", addrs: "a:1 b:2 [::1]:3", cluster: true},
		{url: "rediss+cluster://u:p@a:1", addrs: "a:1", user: "u", password: "p", cluster: true, tls: true},
		{url: "redis+cluster://a:1/", addrs: "a:1", cluster: true},
	} {
		o, err := engine.ParseURL(c.url)
		if err != nil {
			t.Errorf("%s: %v", c.url, err)
			continue
		}
		if strings.Join(o.Addrs, " ") != c.addrs || o.Username != c.user || o.Password != c.password || o.MasterName != c.master ||
			o.DB != c.db || (o.TLSConfig != nil) != c.tls || o.IsClusterMode != c.cluster {
			t.Errorf("%s: addresses %q, user %q, password %q, master %q, database %d, TLS %v, Cluster %v",
				c.url, o.Addrs, o.Username, o.Password, o.MasterName, o.DB, o.TLSConfig != nil, o.IsClusterMode)
		}
	}
	for _, url := range []string{
		"", "h:1", "http://h:1", "redis://h:x", "redis://h:1/db", "redis+http://h:1", "http+cluster://h:1", "redis+sentinel://h:1",
		"redis+sentinel://h:1/", "redis+sentinel://h/main", "redis+sentinel://h:1/main/x", "redis+sentinel://h:1/main/-1", "redis+cluster://h",
		"redis+cluster://h:1/2", "redis+cluster://", "redis+cluster://h:1,", "redis+cluster://u:%zz@h:1", "unix://", "redis://h:1?pool_size=x",
	} {
		if o, err := engine.ParseURL(url); !errors.Is(err, engine.ErrInvalid) {
			t.Errorf("%q: %+v, %v; want %v", url, o, err, engine.ErrInvalid)
		}
	}
}

// A password that was not percent-encoded makes URLs that mean something else, or
// nothing; no error repeats any of it.
func TestURLErrorsNeverShowThePassword(t *testing.T) {
	for _, special := range []string{"/", "?", "#", "%", "@", ":", ",", " ", "[", "\\", "\n", "%zz", "ü"} {
		var shown []string
		for _, scheme := range []string{"redis", "rediss", "unix", "redis+sentinel", "redis+cluster", "redis+nothing", "http"} {
			for _, rest := range []string{"h:1/main", "h", "h:x/main/9x", "", "/run/redis.sock?db=x"} {
				for _, user := range []string{"", "user"} {
					url := scheme + "://" + user + ":hush" + special + "quiet@" + rest
					if _, err := engine.ParseURL(url); err != nil && (strings.Contains(err.Error(), "hush") || strings.Contains(err.Error(), "quiet")) {
						shown = append(shown, url+": "+err.Error())
					}
				}
			}
		}
		if len(shown) > 0 {
			t.Errorf("with %q in the password, %d errors show it, such as\n%s", special, len(shown), shown[0])
		}
	}
}

func TestOpenChecksTheNamespaceAndTheServer(t *testing.T) {
	opening := func(t *testing.T, url string, shards int) error {
		t.Helper()
		e, err := engine.Open(soon(t), engine.Options{URL: url, Namespace: "one", Shards: shards})
		if err == nil {
			t.Cleanup(func() { _ = e.Close() })
		}
		return err
	}
	wants := func(t *testing.T, err, sentinel error, parts ...string) {
		t.Helper()
		if !errors.Is(err, sentinel) {
			t.Fatalf("error %v, want %v", err, sentinel)
		}
		for _, part := range parts {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("%q does not say %q", err, part)
			}
		}
	}
	onEachRedis(t, func(t *testing.T, url string) {
		if err := opening(t, url, 8); err != nil {
			t.Fatal(err)
		}
		if err := opening(t, url, 8); err != nil {
			t.Errorf("a second process: %v", err)
		}
		wants(t, opening(t, url, 4), engine.ErrSchema, "one:schema", "8 shards", "set to 4", "set shards to 8", "another namespace")
		raw := redistest.Dial(t, strings.TrimSuffix(strings.TrimPrefix(url, "redis://"), "/0"))
		if err := raw.HSet(soon(t), "one:schema", "version", "99").Err(); err != nil {
			t.Fatal(err)
		}
		wants(t, opening(t, url, 8), engine.ErrSchema, "one:schema", "version 99", "another namespace")
	})
	s := redistest.Server(t, redistest.WithSettings("maxmemory-policy allkeys-lru"))
	wants(t, opening(t, s.URL(), 8), engine.ErrEviction, "allkeys-lru", "noeviction", "CONFIG SET")
	if n, err := s.Client(t).DBSize(context.Background()).Result(); err != nil || n != 0 {
		t.Errorf("a refused Redis has %d keys, %v", n, err)
	}
	wants(t, opening(t, "redis://127.0.0.1:1/0", 8), engine.ErrUnreachable, "connect")
}
