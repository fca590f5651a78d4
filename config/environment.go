package config

import (
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/pflag"
	"github.com/spf13/viper"
)

// TokenVariable is the variable whose content commands that speak to a server send it as
// their credentials. It is no setting: a flag shows in the list of processes, and a file
// is shared.
const TokenVariable = prefix + "TOKEN"

const (
	prefix       = "TIDEMARK_"
	fileVariable = prefix + "CONFIG"
	fileFlag     = "config"
	setFlag      = "set"
)

// variable is the environment variable of a key.
func variable(key string) string {
	return prefix + strings.ToUpper(strings.ReplaceAll(key, ".", "_"))
}

// orchestrated are variables that Kubernetes and Docker put into every process beside
// a service called tidemark. No user set them, so none mistyped them.
var orchestrated = regexp.MustCompile(`_SERVICE_HOST$|_SERVICE_PORT(_|$)|_PORT_\d+_(TCP|UDP|SCTP)(_|$)`)

// bindEnvironment gives v the variables, and returns those that belong to no setting.
func (c *Config) bindEnvironment(v *viper.Viper) []Problem {
	for _, s := range allSettings() {
		_ = v.BindEnv(s.Key, s.Variable()) // fails without a key alone
		if os.Getenv(s.Variable()) != "" {
			c.origins[s.Key] = Origin{"environment", s.Variable()}
		}
	}
	var problems []Problem
	environ := os.Environ()
	slices.Sort(environ)
	for _, entry := range environ {
		name, value, _ := strings.Cut(entry, "=")
		if !strings.HasPrefix(name, prefix) || name == fileVariable || name == TokenVariable || findVariable(name) != nil ||
			orchestrated.MatchString(name) || strings.HasPrefix(value, "tcp://") {
			continue
		}
		key := strings.ReplaceAll(strings.ToLower(strings.TrimPrefix(name, prefix)), "_", ".")
		hint := ""
		if s := closest(key, func(s Setting) string { return strings.ReplaceAll(s.Key, "_", ".") }); s != nil {
			hint = "; did you mean " + s.Variable() + "?"
		}
		problems = append(problems, Problem{Source: name, Allowed: "no setting has this variable" + hint})
	}
	return problems
}

// AddFlags declares the flags of the settings that are named, by their part ("redis",
// "data", "topic", "log", "worker", …) or each by its key ("worker.concurrency"), and
// have one. With nothing named it declares --config and --set, which reaches every
// setting.
func AddFlags(flags *pflag.FlagSet, names ...string) {
	if len(names) == 0 {
		flags.String(fileFlag, "", "configuration `FILE` (default "+DefaultFile+", if there is one)")
		flags.StringArray(setFlag, nil, "any setting, as `KEY=VALUE`; may be repeated; see config print")
	}
	base := defaults()
	for _, s := range allSettings() {
		if s.Flag == "" || (!slices.Contains(names, s.part()) && !slices.Contains(names, s.Key)) {
			continue
		}
		usage := s.Brief
		if value := s.get(base); value != "" {
			usage += " (default " + value + ")"
		}
		flags.String(s.Flag, "", usage)
	}
}

// bindFlags gives v what was set on the command line.
func (c *Config) bindFlags(v *viper.Viper, flags *pflag.FlagSet) []Problem {
	var problems []Problem
	for _, s := range allSettings() {
		f := flags.Lookup(s.Flag)
		if s.Flag == "" || f == nil || !f.Changed {
			continue
		}
		_ = v.BindPFlag(s.Key, f) // fails without a flag alone
		c.origins[s.Key] = Origin{"flag", "--" + s.Flag}
	}
	if flags.Lookup(setFlag) == nil {
		return nil
	}
	pairs, _ := flags.GetStringArray(setFlag) // declared in AddFlags, so of this type
	for _, pair := range pairs {
		key, value, ok := strings.Cut(pair, "=")
		s := find(key)
		complain := func(allowed string) {
			problems = append(problems, Problem{Source: "--" + setFlag, Key: clip(key, 80), Allowed: allowed})
		}
		switch {
		case !ok:
			complain("want KEY=VALUE, such as worker.lease=4s")
		case s == nil:
			complain("no such setting" + didYouMean(key))
		case c.origins[key].Kind == "flag":
			complain("also given by " + c.origins[key].Where + "; drop one")
		default:
			v.Set(key, value)
			c.origins[key] = Origin{"flag", "--" + setFlag + " " + key}
		}
	}
	return problems
}
