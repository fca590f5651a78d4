package config

import (
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/tidemark-dev/tidemark/worker/analysis"
	"github.com/tidemark-dev/tidemark/worker/export"
	"github.com/tidemark-dev/tidemark/worker/processor"
	"github.com/tidemark-dev/tidemark/worker/upload"
)

// Processors make the processors of the program: the command line registers them, their
// settings are sections of the configuration, and the page offers what they read. Another one
// is a folder and a line here. It must not change once a configuration was loaded.
var Processors = []func() processor.Processor{
	analysis.Processor,
	upload.Processor,
	export.Processor,
}

func makeProcessors() []processor.Processor {
	made := make([]processor.Processor, len(Processors))
	for i, make := range Processors {
		made[i] = make()
	}
	return made
}

// processors are those of c, which hold their settings.
func (c *Config) processors() []processor.Processor {
	if c.Processors == nil {
		c.Processors = makeProcessors()
	}
	return c.Processors
}

// allSettings is every setting, in the order in which they are shown: those of processors come
// before the gateway's.
func allSettings() []Setting {
	var own []Setting
	for i, p := range makeProcessors() {
		for k, s := range p.Settings {
			setting := Setting{Key: p.Type + "." + s.Name, field: s.Field, Doc: s.Doc}
			at := func(c *Config) processor.Setting { return c.processors()[i].Settings[k] }
			if s.Bytes != nil {
				setting.codec = size(func(c *Config) *int64 { return at(c).Bytes })
			} else {
				setting.codec = count(func(c *Config) *int { return at(c).Count })
			}
			own = append(own, setting)
		}
	}
	before := slices.IndexFunc(settings, func(s Setting) bool { return s.part() == "gateway" })
	return slices.Insert(slices.Clone(settings), before, own...)
}

// allParts is every part, in the order of allSettings.
func allParts() []part {
	var own []part
	for i, p := range makeProcessors() {
		first, n := utf8.DecodeRuneInString(p.Type)
		own = append(own, part{p.Type, strings.ToUpper(string(first)) + p.Type[n:], func(c *Config) error {
			if validate := c.processors()[i].Validate; validate != nil {
				return validate()
			}
			return nil
		}})
	}
	before := slices.IndexFunc(parts, func(p part) bool { return p.name == "gateway" })
	return slices.Insert(slices.Clone(parts), before, own...)
}
