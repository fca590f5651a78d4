package config

import (
	"errors"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/gateway/client"
	"github.com/tidemark-dev/tidemark/internal/option"
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
	{"storage", "Storage", func(c *Config) error { return c.Storage.Validate() }},
	{"engine", "Engine", func(c *Config) error { return c.Engine.Validate() }},
	{"worker", "Worker", func(c *Config) error { return c.Worker.Validate() }},
	{"health", "Health of a worker", func(c *Config) error { return c.Health.Validate() }},
	{"schedules", "Schedules", func(*Config) error { return nil }}, // the codec has asked
	{"sources", "SQL sources", func(*Config) error { return nil }}, // as well
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
		return option.Invalid("Topic", string(c.Topic), "want %s", engine.TopicForm)
	}
	return nil
}

func validServer(c *Config) error {
	if c.Server == "" {
		return nil
	}
	if _, err := client.ParseURL(c.Server); err != nil {
		// What it quotes of a malformed address may be of a password.
		return option.Invalid("Server", nil, "want %s", client.URLForm)
	}
	return nil
}

func validRedis(c *Config) error {
	var address, both error
	if c.Data.URL != "" {
		if _, err := engine.ParseURL(c.Data.URL); err != nil {
			// What a parser quotes of a malformed address may be of the password.
			address = option.Invalid("URL", nil, "want %s", urlForm)
		}
	}
	if c.Data.Embedded && c.Data.ServerPath != "" {
		both = option.Invalid("ServerPath", nil, "redis.embedded is always, so no server would be run; drop one of the two")
	}
	return errors.Join(address, both)
}

const urlForm = "redis://[user:password@]host[:port][/db], unix:///path/redis.sock, redis+sentinel://… or " +
	"redis+cluster://…; percent-encode what is no letter or digit in a password"

// complaints are the single errors that a Validate has joined.
func complaints(err error) []error {
	joined, ok := err.(interface{ Unwrap() []error })
	switch {
	case err == nil:
		return nil
	case !ok:
		return []error{err}
	}
	var all []error
	for _, one := range joined.Unwrap() {
		all = append(all, complaints(one)...)
	}
	return all
}

// blamed finds the setting that a complaint is about, and what it may be instead; nil where
// the complaint is about none, as where an option is missing that is no setting.
func (p part) blamed(complaint error) (*Setting, string) {
	var about *option.Error
	if !errors.As(complaint, &about) {
		return nil, ""
	}
	for _, s := range allSettings() {
		if s.part() == p.name && (about.Field == s.field || about.Field == s.beside) {
			return &s, s.bounds(about)
		}
	}
	return nil, ""
}

// written names the setting that somebody wrote where a default does not go with it: the one of the
// part without which there is no complaint about the setting s. Without such a one the problem
// stays as it is.
func (p part) written(c *Config, s Setting, problem Problem) Problem {
	least := math.MaxInt
	follows := "is not set"
	if value := s.get(defaults()); value != "" {
		follows = "is " + value + " unless it is set"
	}
	allowed := problem.Allowed
	for _, other := range allSettings() {
		if other.part() != p.name || c.origins[other.Key] == byDefault || other.unset == nil {
			continue
		}
		restore := other.unset(c)
		left := complaints(p.validate(c))
		restore()
		cured := !slices.ContainsFunc(left, func(complaint error) bool {
			found, _ := p.blamed(complaint)
			return found != nil && found.Key == s.Key
		})
		// What leaves the fewest complaints is to blame.
		if cured && len(left) < least {
			least = len(left)
			problem = other.problem(c.origins[other.Key], other.get(c), fmt.Sprintf("with it %s, which %s: %s", s.Key, follows, allowed))
		}
	}
	return problem
}

// valueIn is the item of a list that a complaint is about, or else the setting's value.
func (s Setting) valueIn(complaint error, c *Config) any {
	var about *option.Error
	if errors.As(complaint, &about) && s.unset == nil { // a list
		if item, ok := about.Value.(string); ok {
			return item
		}
	}
	return s.get(c)
}

// bounds gives what a part allows for the setting, with sizes and durations as a file would
// spell them.
func (s Setting) bounds(e *option.Error) string {
	if e.Least == nil {
		return e.Reason
	}
	spell := func(v any) string {
		switch v := v.(type) {
		case time.Duration:
			return printDuration(v)
		case int:
			if strings.HasPrefix(s.form, "a size") {
				return printSize(int64(v))
			}
		case int64:
			if strings.HasPrefix(s.form, "a size") {
				return printSize(v)
			}
		}
		return fmt.Sprint(v)
	}
	return "want " + spell(e.Least) + " to " + spell(e.Most)
}

// Allowed says which values the setting's part takes, as the part itself says it.
func (s Setting) Allowed() string {
	var c Config
	s.spoil(&c)
	for _, p := range allParts() {
		if p.name != s.part() {
			continue
		}
		for _, complaint := range complaints(p.validate(&c)) {
			if found, allowed := p.blamed(complaint); found != nil && found.Key == s.Key {
				return strings.TrimPrefix(allowed, "want ")
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

// withUser matches an address that has a user, and so perhaps a password.
var withUser = regexp.MustCompile(`://.*@`)

func (s Setting) problem(o Origin, value any, allowed string) Problem {
	p := Problem{Source: o.Where, Key: s.Key, Allowed: allowed}
	if o.Where == "" {
		p.Source = o.Kind // a default that does not go with another setting
	}
	if text, ok := value.([]any); ok {
		value = fmt.Sprintf("%d items", len(text))
	}
	if text := fmt.Sprint(value); !s.Secret && !withUser.MatchString(text) {
		p.Value = text
	}
	return p
}
