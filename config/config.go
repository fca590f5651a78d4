package config

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/spf13/pflag"
	"github.com/spf13/viper"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/gateway"
	"github.com/tidemark-dev/tidemark/internal/datadir"
	"github.com/tidemark-dev/tidemark/internal/excerpt"
	"github.com/tidemark-dev/tidemark/internal/storage"
	"github.com/tidemark-dev/tidemark/worker"
	"github.com/tidemark-dev/tidemark/worker/processor"
	"github.com/tidemark-dev/tidemark/worker/sqlsource"
)

// DefaultFile is the configuration file that is read when none is named. It need not
// exist.
const DefaultFile = "tidemark.yaml"

// DefaultTopic is whom jobs are for when no topic is set.
const DefaultTopic engine.Topic = "user:demo"

// Config is the settings of a process, as the parts take them. Load makes it; the
// fields may then be changed by the one who loaded it.
type Config struct {
	// Data says where the data folder is and which Redis to use.
	Data datadir.Options
	// Topic is whom the command line's jobs are for, and whose it sees.
	Topic engine.Topic
	// Server is the gateway that commands speak to instead of opening the data folder;
	// "" for none.
	Server string
	// Storage says where uploads and artifacts are kept.
	Storage storage.Options
	// Engine lacks its URL, which is known once the data folder is open.
	Engine engine.Options
	// Worker lacks its Engine; its Schedules are a section of their own.
	Worker worker.Options
	// Processors are the processors of the program, with their settings.
	Processors []processor.Processor
	// Sources are the SQL sources that exports may name.
	Sources []sqlsource.Source
	// Gateway lacks its Engine, Auth, Site, PageTopic, and where its blobs are.
	Gateway gateway.Options
	Listen  Listen
	Health  Health
	Auth    Auth
	Log     Log

	file    string
	origins map[string]Origin
}

// An Origin says where a setting's value came from.
type Origin struct {
	// Kind is "default", "file", "environment" or "flag".
	Kind string
	// Where names the file and line, the variable or the flag; "" for a default.
	Where string
}

func (o Origin) String() string {
	if o.Where == "" {
		return o.Kind
	}
	return o.Where
}

var byDefault = Origin{Kind: "default"}

// Load reads the settings. flags are those of [AddFlags], parsed; nil stands for
// none. Its error is an [*Error] that holds every problem there is; only a file that
// cannot be read, or is no YAML, hides those behind it.
func Load(flags *pflag.FlagSet) (*Config, error) {
	if flags == nil {
		flags = pflag.NewFlagSet("", pflag.ContinueOnError)
	}
	c := &Config{origins: map[string]Origin{}}
	v := viper.New()
	var problems []Problem

	path, origin := configFile(flags)
	var tree fileTree
	if path != "" {
		var err error
		if tree, err = readFile(v, path); err != nil {
			return nil, &Error{Problems: []Problem{fileProblem(path, origin, err)}}
		}
		c.file = path
		problems = append(problems, tree.problems...)
		for key, line := range tree.lines {
			c.origins[key] = Origin{"file", fmt.Sprintf("%s:%d", path, line)}
		}
	}
	problems = append(problems, c.bindEnvironment(v)...)
	problems = append(problems, c.bindFlags(v, flags)...)

	broken := map[string]bool{}
	for _, s := range allSettings() {
		o, given := c.origins[s.Key]
		if !given {
			c.origins[s.Key] = byDefault
			continue
		}
		raw := v.Get(s.Key)
		if s.verbatim && o.Kind == "file" {
			raw = tree.values[s.Key]
		}
		if err := s.take(c, raw); err != nil {
			broken[s.Key] = true
			for _, one := range complaints(err) {
				problems = append(problems, s.problem(o, raw, one.Error()))
			}
		}
	}
	problems = append(problems, c.check(broken)...)
	if len(problems) > 0 {
		return nil, &Error{Problems: problems}
	}
	c.complete()
	return c, nil
}

// configFile says which file to read: the one that is named, or DefaultFile if there
// is one; "" for none.
func configFile(flags *pflag.FlagSet) (string, Origin) {
	if f := flags.Lookup(fileFlag); f != nil && f.Changed {
		return f.Value.String(), Origin{"flag", "--" + fileFlag}
	}
	if path := os.Getenv(fileVariable); path != "" {
		return path, Origin{"environment", fileVariable}
	}
	if _, err := os.Stat(DefaultFile); err == nil {
		return DefaultFile, byDefault
	}
	return "", byDefault
}

// check asks every part whether it can work with its options, and gives the answers
// the names of the settings. A setting that is known to be broken is left out; one that is a list
// may have several problems.
func (c *Config) check(broken map[string]bool) []Problem {
	var problems []Problem
	for _, p := range allParts() {
		for _, complaint := range complaints(p.validate(c)) {
			s, allowed := p.blamed(complaint)
			if s == nil {
				// It names no setting, so the part itself has to stand for the place.
				problems = append(problems, Problem{Source: p.name, Allowed: complaint.Error()})
				continue
			}
			if broken[s.Key] {
				continue
			}
			problem := s.problem(c.origins[s.Key], s.valueIn(complaint, c), allowed)
			if c.origins[s.Key] == byDefault {
				problem = p.written(c, *s, problem)
			}
			if !slices.Contains(problems, problem) {
				problems = append(problems, problem)
			}
		}
	}
	return problems
}

// complete puts the defaults in, which the parts' Options know.
func (c *Config) complete() {
	if c.Data.Dir == "" {
		c.Data.Dir = datadir.DefaultDir
	}
	if c.Topic == "" {
		c.Topic = DefaultTopic
	}
	c.Engine = c.Engine.Defaults()
	if len(c.Worker.Queues) == 0 {
		c.Worker.Queues = []string{c.Engine.DefaultQueue}
	}
	c.Worker = c.Worker.Defaults()
	for _, p := range c.processors() {
		if p.Defaults != nil {
			p.Defaults()
		}
	}
	for i, t := range c.Gateway.EnqueueTypes {
		for _, p := range c.processors() {
			if t.Queue == "" && t.Type == p.Type {
				c.Gateway.EnqueueTypes[i].Queue = p.Queue
			}
		}
	}
	c.Gateway = c.Gateway.Defaults()
	c.Gateway.Auth = nil // of Auth, once its mode is known
	c.Gateway.Registry, c.Gateway.Logger = nil, nil
	c.Listen = c.Listen.Defaults()
	c.Auth = c.Auth.Defaults()
	c.Log = c.Log.Defaults()
}

// defaults is the configuration of a process to which nothing was set.
func defaults() *Config {
	c := &Config{origins: map[string]Origin{}}
	for _, s := range allSettings() {
		c.origins[s.Key] = byDefault
	}
	c.complete()
	return c
}

// File returns the path of the configuration file that was read; "" when there was
// none.
func (c *Config) File() string { return c.file }

// Origin returns where the value of a key came from.
func (c *Config) Origin(key string) Origin { return c.origins[key] }

// An Effective is a setting and its value.
type Effective struct {
	Setting
	// Value is as a configuration file would spell it, without the password of a
	// secret.
	Value  string
	Origin Origin
}

// Settings returns all settings and their values, in the order of the table.
func (c *Config) Settings() []Effective {
	settings := allSettings()
	all := make([]Effective, len(settings))
	for i, s := range settings {
		value := s.get(c)
		switch {
		case s.show != nil:
			value = s.show(c)
		case s.Secret:
			value = Mask(value)
		}
		all[i] = Effective{Setting: s, Value: value, Origin: c.origins[s.Key]}
	}
	return all
}

// ErrInvalid is what every error of Load wraps.
var ErrInvalid = errors.New("invalid configuration")

// A Problem is one thing that is wrong with a configuration.
type Problem struct {
	// Source is where it stands: "tidemark.yaml:3", "TIDEMARK_DATA", "--set".
	Source string
	// Key is the setting, or what was taken for one.
	Key string
	// Value is what was given; "" for a secret and where the key itself is wrong.
	Value string
	// Allowed says what would be right.
	Allowed string
}

func (p Problem) String() string {
	var b strings.Builder
	b.WriteString(p.Source)
	if p.Key != "" {
		b.WriteString(": " + p.Key)
	}
	if p.Value != "" {
		fmt.Fprintf(&b, " %q", clip(p.Value, 80))
	}
	b.WriteString(": " + p.Allowed)
	return b.String()
}

// Error is all that is wrong with a configuration. It wraps [ErrInvalid].
type Error struct{ Problems []Problem }

// Error has a line for each problem.
func (e *Error) Error() string {
	lines := make([]string, len(e.Problems))
	for i, p := range e.Problems {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

// Unwrap makes every Error an ErrInvalid.
func (e *Error) Unwrap() error { return ErrInvalid }

func clip(s string, most int) string { return excerpt.Of(s, most) }
