// Package arrows holds which of the project's packages may import which.
package arrows

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/tidemark-dev/tidemark"

// An arrow is a rule about what packages import, their tests apart. Paths are relative to
// the module; "x/..." is x and all below it, "..." everything.
type arrow struct {
	from string
	// but are packages that the rule does not bind.
	but []string
	// never is what they must not import, apart from excepted.
	never    []string
	excepted []string
	// soon: there may be no such package yet.
	soon bool
	why  string
}

// The project's rooms, for the rules below.
var (
	internals = []string{"internal/..."}
	// rigs are for tests alone.
	rigs = []string{"internal/arrows/...", "internal/e2e/...", "internal/filetest/...", "internal/leaktest/...", "internal/logtest/...", "internal/memtest/...", "internal/pgtest/...", "internal/redistest/...", "internal/s3test/...", "worker/workertest/..."}
	// gatewayLeaves are what the gateway's rooms share, workerLeaves what the worker's share.
	gatewayLeaves = []string{"gateway/internal/access", "gateway/internal/problem", "gateway/internal/transport"}
	workerLeaves  = []string{
		"worker/internal/backoff", "worker/internal/gate", "worker/internal/rows", "worker/internal/silence", "worker/internal/table", "worker/internal/wheel", "worker/sqlsource",
	}
)

var arrows = []arrow{
	{
		from: "engine/...", never: []string{"worker/...", "gateway/...", "config/...", "internal/cli/..."},
		why: "every part imports the engine; the engine imports none of them",
	},
	{from: "engine/wire", never: []string{"..."}, excepted: internals, why: "the types that travel import no machine"},
	{
		from: "engine/internal/...", never: []string{"engine/..."}, excepted: []string{"engine/internal/...", "engine/wire"},
		why: "the ground handles strings and bytes only",
	},
	{from: "engine/runtime", never: []string{"engine", "engine/stream"}, why: "workers and gateways ask the engine through packages of their own"},
	{from: "engine/stream", never: []string{"engine", "engine/runtime"}, why: "workers and gateways ask the engine through packages of their own"},

	{from: "worker/...", never: []string{"gateway/...", "config/...", "internal/cli/...", "engine/stream"}, why: "worker and gateway share the engine and nothing else"},
	{from: "worker", never: []string{"worker/..."}, excepted: []string{"worker/internal/..."}, why: "a processor imports the worker, never the reverse"},
	{from: "worker/internal/...", never: []string{"worker/..."}, excepted: workerLeaves, why: "a room imports neither the worker nor the room beside it; two rooms share a leaf"},

	{from: "gateway/...", never: []string{"worker/...", "config/...", "internal/cli/..."}, why: "worker and gateway share the engine and nothing else"},
	{
		from: "gateway/...", but: []string{"gateway", "gateway/internal/api", "gateway/internal/upload"}, never: []string{"engine/runtime"},
		why: "in the gateway, only uploads and downloads report what they move, only the API asks what holds a dataset, and only the asynq UI reads tasks",
	},
	{from: "gateway/auth", never: []string{"gateway/..."}, why: "authentication does not depend on what a user asks for"},
	{from: "gateway/client", never: []string{"..."}, excepted: append([]string{"engine/wire"}, internals...), why: "a client needs the types that travel and no server"},
	{
		from: "gateway/internal/...", never: []string{"gateway/..."}, excepted: append([]string{"gateway/auth"}, gatewayLeaves...),
		why: "a room imports neither the gateway nor the room beside it; two rooms share a leaf",
	},

	{from: "config/...", never: []string{"internal/cli/..."}, why: "the command line reads the settings, never the reverse"},
	{from: "internal/cli/screen", never: []string{"internal/cli/...", "config/...", "worker/..."}, why: "what is shown of jobs does not depend on commands"},
	{from: "internal/cli/session", never: []string{"internal/cli/..."}, excepted: []string{"internal/cli/screen"}, why: "commands open sessions, never the reverse"},
	{from: "internal/cli/files", never: []string{"internal/cli"}, why: "the command line has the commands about files, never the reverse"},
	{from: "...", but: []string{"", "internal/cli/..."}, never: []string{"internal/cli/..."}, why: "only main imports the command line"},
	{from: "internal/blobs", never: []string{"..."}, excepted: []string{"engine/wire"}, why: "the engine and all processors import it"},
	{from: "examples/...", never: append([]string{"config/...", "gateway/internal/..."}, internals...), why: "examples import only what users may import"},
	{from: "...", but: rigs, never: rigs, why: "only tests import test rigs"},
}

// room returns the room of the gateway or of the worker that a package belongs to; "": none.
func room(path string) string {
	for _, rooms := range []string{"gateway/internal/", "worker/internal/"} {
		if rest, in := strings.CutPrefix(path, rooms); in {
			name, _, _ := strings.Cut(rest, "/")
			return rooms + name
		}
	}
	return ""
}

func covers(pattern, path string) bool {
	root, all := strings.CutSuffix(pattern, "...")
	root = strings.TrimSuffix(root, "/")
	return path == root || all && (root == "" || strings.HasPrefix(path, root+"/"))
}

func coversAny(patterns []string, path string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool { return covers(p, path) })
}

// wrong lists the imports that break a rule, and the rules that bind nothing. imports are
// of the project's own packages, by package.
func wrong(rules []arrow, imports map[string][]string) []string {
	var all []string
	for _, rule := range rules {
		bound := false
		for from, tos := range imports {
			if !covers(rule.from, from) || coversAny(rule.but, from) {
				continue
			}
			bound = true
			for _, to := range tos {
				if coversAny(rule.never, to) && !coversAny(rule.excepted, to) && (room(from) == "" || room(from) != room(to)) {
					all = append(all, fmt.Sprintf("%s imports %s: %s", from, to, rule.why))
				}
			}
		}
		if !bound && !rule.soon {
			all = append(all, "there is no package "+rule.from)
		}
	}
	slices.Sort(all)
	return all
}

// project reads what the project's packages import.
func project(t *testing.T) map[string][]string {
	t.Helper()
	list := exec.CommandContext(t.Context(), "go", "list", "-json=ImportPath,Imports", module+"/...")
	out, err := list.Output()
	if err != nil {
		if failed := (*exec.ExitError)(nil); errors.As(err, &failed) {
			t.Fatalf("%v: %s", err, failed.Stderr)
		}
		t.Fatal(err)
	}
	imports := map[string][]string{}
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p struct {
			ImportPath string
			Imports    []string
		}
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return imports
		} else if err != nil {
			t.Fatal(err)
		}
		ours := []string{}
		for _, to := range p.Imports {
			if to == module {
				ours = append(ours, "")
			} else if rest, ok := strings.CutPrefix(to, module+"/"); ok {
				ours = append(ours, rest)
			}
		}
		imports[strings.TrimPrefix(strings.TrimPrefix(p.ImportPath, module), "/")] = ours
	}
}

func TestArrowsPointOneWay(t *testing.T) {
	t.Parallel()
	for _, w := range wrong(arrows, project(t)) {
		t.Error(w)
	}
}

// mostFiles is how many files, tests apart, the packages have that a stranger opens first. More of them
// are a second machine, which is a room of its own.
const mostFiles = 22

func TestPackagesAreSmall(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"engine", "worker", "gateway", "internal/cli", "internal/cli/files"} {
		files, err := filepath.Glob(filepath.Join("..", "..", name, "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		files = slices.DeleteFunc(files, func(f string) bool { return strings.HasSuffix(f, "_test.go") })
		if len(files) == 0 || len(files) > mostFiles {
			t.Errorf("package %s has %d files, want at most %d: %q", name, len(files), mostFiles, files)
		}
	}
}

func TestWrongArrowsAreFound(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ from, to string }{
		{"engine", "worker"},
		{"engine/scripts/x", "gateway/auth"},
		{"engine/wire", "engine"},
		{"engine/internal/ground", "engine"},
		{"engine/runtime", "engine/stream"},
		{"worker", "worker/analysis"},
		{"worker/internal/rescue", "worker"},
		{"worker/internal/rescue", "worker/internal/reconcile"},
		{"worker/internal/wheel", "worker/internal/intake"},
		{"worker/analysis", "gateway"},
		{"gateway", "worker"},
		{"gateway", "internal/redistest"},
		{"gateway/auth", "gateway"},
		{"gateway/internal/ws", "engine/runtime"},
		{"gateway/client", "engine"},
		{"gateway/internal/ws", "gateway/internal/stream"},
		{"gateway/internal/stream/x", "gateway/internal/ws"},
		{"gateway/internal/problem", "gateway/internal/upload"},
		{"gateway/internal/upload", "gateway"},
		{"gateway/internal/sse", "gateway/internal/stream"},
		{"config", "internal/cli"},
		{"internal/datadir", "internal/cli"},
		{"worker", "internal/cli/screen"},
		{"internal/cli/screen", "internal/cli/session"},
		{"internal/cli/session", "internal/cli/files"},
		{"internal/cli/files", "internal/cli"},
		{"internal/blobs", "worker"},
		{"worker", "worker/workertest"},
		{"internal/cli", "internal/leaktest"},
		{"examples/wc", "internal/option"},
	} {
		if found := wrong(soon(arrows), map[string][]string{c.from: {c.to}}); len(found) == 0 {
			t.Errorf("%s imports %s, and no rule forbids it", c.from, c.to)
		}
	}
	for _, c := range []struct{ from, to string }{
		{"", "internal/cli"},
		{"internal/cli", "internal/cli/files"},
		{"internal/cli/files", "internal/cli/session"},
		{"internal/cli/session", "internal/cli/screen"},
		{"gateway", "gateway/internal/stream"},
		{"gateway/internal/stream/window", "gateway/internal/stream/x"},
		{"gateway/internal/ws", "gateway/internal/transport"},
		{"gateway/internal/upload", "engine/runtime"},
		{"gateway/internal/api", "engine/runtime"},
		{"internal/redistest", "internal/leaktest"},
		{"worker", "worker/internal/rescue"},
		{"worker/internal/rescue", "worker/internal/silence"},
		{"worker/internal/reconcile/walk", "worker/internal/reconcile/x"},
		{"worker/analysis", "worker"},
		{"engine", "internal/blobs"},
		{"internal/blobs", "engine/wire"},
	} {
		if found := wrong(soon(arrows), map[string][]string{c.from: {c.to}}); len(found) > 0 {
			t.Errorf("%s may import %s: %v", c.from, c.to, found)
		}
	}
	if found := wrong([]arrow{{from: "nowhere/..."}}, map[string][]string{"engine": nil}); len(found) != 1 {
		t.Errorf("a rule that binds nothing is not reported: %v", found)
	}
}

// soon are rules that may bind nothing.
func soon(rules []arrow) []arrow {
	rules = slices.Clone(rules)
	for i := range rules {
		rules[i].soon = true
	}
	return rules
}
