package config

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/internal/remote"
)

// A part is what some settings belong to, and can be asked about them.
type part struct {
	name     string
	title    string
	validate func(c *Config) error
}

var parts = []part{
	{"data", "Data folder", func(*Config) error { return nil }},
	{"topic", "Topic", validTopic},
	{"server", "Server", validServer},
	{"redis", "Redis", validRedis},
	{"engine", "Engine", func(c *Config) error { return c.Engine.Validate() }},
	{"worker", "Worker", func(c *Config) error { return c.Worker.Validate() }},
	{"schedules", "Schedules", func(*Config) error { return nil }}, // the codec has asked
	{"analysis", "Analysis", func(c *Config) error { return c.Analysis.Validate() }},
	{"gateway", "Gateway", func(c *Config) error { return errors.Join(c.Listen.Validate(), c.Gateway.Validate()) }},
	{"auth", "Authentication", func(c *Config) error { return c.Auth.Validate() }},
	{"log", "Log", func(c *Config) error { return c.Log.Validate() }},
}

func (s Setting) part() string {
	section, _, _ := strings.Cut(s.Key, ".")
	return section
}

func validTopic(c *Config) error {
	if c.Topic == "" {
		return nil
	}
	if _, err := engine.ParseTopic(string(c.Topic)); err != nil {
		return errors.New("Topic: " + bound(err.Error()))
	}
	return nil
}

func validServer(c *Config) error {
	if c.Server == "" {
		return nil
	}
	if _, err := remote.ParseURL(c.Server); err != nil {
		// What it quotes of a malformed address may be of a password.
		return errors.New("invalid Server: want " + remote.URLForm)
	}
	return nil
}

func validRedis(c *Config) error {
	var address, both error
	if c.Data.URL != "" {
		if _, err := engine.ParseURL(c.Data.URL); err != nil {
			// What a parser quotes of a malformed address may be of the password.
			address = errors.New("URL: want " + urlForm)
		}
	}
	if c.Data.Embedded && c.Data.ServerPath != "" {
		both = errors.New("ServerPath: redis.embedded is always, so no server would be run; drop one of the two")
	}
	return errors.Join(address, both)
}

const urlForm = "redis://[user:password@]host[:port][/db], unix:///path/redis.sock, redis+sentinel://… or " +
	"redis+cluster://…; percent-encode what is no letter or digit in a password"

// complaints are the single errors that a Validate has joined.
func complaints(err error) []string {
	if err == nil {
		return nil
	}
	return strings.Split(err.Error(), "\n")
}

// blamed finds the setting whose field a complaint names first; nil for none, as
// where an option is missing that is no setting.
func (p part) blamed(complaint string) *Setting {
	var found *Setting
	first := len(complaint)
	for i := range settings {
		s := &settings[i]
		if s.part() != p.name {
			continue
		}
		if at := s.mention().FindStringIndex(complaint); at != nil && at[0] < first {
			found, first = s, at[0]
		}
	}
	return found
}

// bound is what a complaint asks for, without the field and its value.
func bound(complaint string) string {
	if i := strings.LastIndex(complaint, ": want "); i >= 0 {
		return complaint[i+2:]
	}
	if _, rest, ok := strings.Cut(complaint, ": "); ok {
		return rest
	}
	return complaint
}

func (s Setting) mention() *regexp.Regexp { return regexp.MustCompile(`\b` + s.field + `\b`) }

var (
	wholeNumber = regexp.MustCompile(`\b\d{4,}\b`)
	duringText  = regexp.MustCompile(`\b(\d+h)?\d+m\d+(\.\d+)?s\b`)
)

// translate gives what a part allows for a setting, in the words of settings: what
// follows the field and its value in the complaint, with keys for fields and with
// sizes and durations as a file would spell them.
func (p part) translate(s *Setting, complaint string) string {
	text := complaint[s.mention().FindStringIndex(complaint)[0]:]
	text = bound(text)
	for _, other := range settings {
		if other.part() == p.name {
			text = other.mention().ReplaceAllLiteralString(text, other.Key)
		}
	}
	if strings.HasPrefix(s.form, "a size") {
		text = wholeNumber.ReplaceAllStringFunc(text, func(n string) string {
			v, err := strconv.ParseInt(n, 10, 64)
			if err != nil {
				return n
			}
			return printSize(v)
		})
	}
	return duringText.ReplaceAllStringFunc(text, func(d string) string {
		v, err := parseDuration(d)
		if err != nil {
			return d
		}
		return printDuration(v)
	})
}

// Allowed says which values the setting's part takes, as the part itself says it.
func (s Setting) Allowed() string {
	var c Config
	s.spoil(&c)
	for _, p := range parts {
		if p.name != s.part() {
			continue
		}
		for _, complaint := range complaints(p.validate(&c)) {
			if found := p.blamed(complaint); found != nil && found.Key == s.Key {
				return strings.TrimPrefix(p.translate(found, complaint), "want ")
			}
		}
	}
	return s.form
}

// take sets the setting in c.
func (s Setting) take(c *Config, raw any) error {
	if err := s.set(c, raw); err != nil {
		return err
	}
	// The parts' Options take a zero for their default. Whoever wrote it meant zero.
	if s.zero(c) && !s.zero(defaults()) {
		return errors.New("want " + s.Allowed() + ", and not zero, which stands for the default; leave the setting out for that")
	}
	return nil
}

func (s Setting) problem(o Origin, value any, allowed string) Problem {
	p := Problem{Source: o.Where, Key: s.Key, Allowed: allowed}
	if o.Where == "" {
		p.Source = o.Kind // a default that does not go with another setting
	}
	if text, ok := value.([]any); ok {
		value = fmt.Sprintf("%d items", len(text))
	}
	if !s.Secret {
		p.Value = fmt.Sprint(value)
	}
	return p
}
