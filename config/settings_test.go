package config_test

import (
	"bytes"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/tidemark-dev/tidemark/config"
	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/gateway"
	"github.com/tidemark-dev/tidemark/worker"
	"github.com/tidemark-dev/tidemark/worker/analysis"
)

func TestReferencePageIsCurrent(t *testing.T) {
	page, err := os.ReadFile("../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(page, config.Reference()) {
		t.Error("docs/configuration.md is not what config/settings.go says; run: go generate ./config")
	}
}

// A field of a part's Options that no line of the table names could not be set.
func TestEveryOptionIsASetting(t *testing.T) {
	keys := map[string]bool{}
	for _, s := range loaded(t, "", nil).Settings() {
		keys[s.Key] = true
	}
	// These are given by programs, or made of other settings.
	given := map[string]bool{
		"Engine": true, "Redis": true, "Logger": true, "Permanent": true, "URL": true,
		"Auth": true, "Site": true, "Blobs": true, "BlobDir": true, "BlobBucket": true, "BlobsReady": true, "PageTopic": true, "PageUploads": true, "Registry": true,
		"Schedules":    true, // a section of their own
		"QueueWeights": true, // of worker.queues
		"EnqueueTypes": true, // gateway.enqueue.types
	}
	for part, options := range map[string]any{"engine": engine.Options{}, "worker": worker.Options{}, "analysis": analysis.Options{}, "gateway": gateway.Options{}} {
		for _, f := range reflect.VisibleFields(reflect.TypeOf(options)) {
			if key := part + "." + snake(f.Name); !given[f.Name] && f.IsExported() && !keys[key] {
				t.Errorf("%s.Options.%s has no setting %s", part, f.Name, key)
			}
		}
	}
}

func snake(name string) string {
	name = strings.ReplaceAll(name, "TTL", "Ttl")
	var b strings.Builder
	for i, r := range name {
		if i > 0 && r >= 'A' && r <= 'Z' {
			b.WriteByte('_')
		}
		b.WriteRune(r)
	}
	return strings.ToLower(b.String())
}

// Each value that print shows must be one that Load takes, or a printed
// configuration could not be used.
func TestPrintedValuesAreTaken(t *testing.T) {
	base := loaded(t, "", nil)
	for _, s := range base.Settings() {
		if s.Value == "" {
			continue
		}
		c, err := load(t, "", nil, "--set", s.Key+"="+s.Value)
		if err != nil {
			t.Errorf("the default of %s is refused: %v", s.Key, err)
			continue
		}
		if got := effective(t, c, s.Key).Value; got != s.Value {
			t.Errorf("%s=%s came back as %s", s.Key, s.Value, got)
		}
	}
}

// The bounds on the page are asked of the parts: a part that words its complaint in
// another way would leave the page with "a whole number".
func TestNumbersHaveBounds(t *testing.T) {
	for _, s := range loaded(t, "", nil).Settings() {
		switch allowed := s.Allowed(); {
		case s.Doc == "" || allowed == "":
			t.Errorf("%s lacks its description or what is allowed", s.Key)
		case allowed == "a whole number", allowed == "a number", strings.HasPrefix(allowed, "a duration"), strings.HasPrefix(allowed, "a size"):
			t.Errorf("the bounds of %s are not known: its part's Validate does not complain of a value far out, or does not name the field", s.Key)
		}
	}
}
