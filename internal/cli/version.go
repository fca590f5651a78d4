package cli

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/tidemark-dev/tidemark/internal/cli/screen"
)

// version is set by the linker, see Taskfile.yml.
var version = ""

func (a *app) versionCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "version", Short: "Show which Tidemark this is", Args: cobra.NoArgs}
	asJSON := screen.JSONFlag(cmd, "print it as JSON")
	cmd.RunE = func(*cobra.Command, []string) error {
		v := versionOf(version, debug.ReadBuildInfo)
		if *asJSON {
			screen.WriteLine(a.out, struct {
				Version  string `json:"version"`
				Go       string `json:"go"`
				Platform string `json:"platform"`
			}{v, runtime.Version(), runtime.GOOS + "/" + runtime.GOARCH})
			return nil
		}
		fmt.Fprintf(a.out, "tidemark %s (%s, %s/%s)\n", v, runtime.Version(), runtime.GOOS, runtime.GOARCH)
		return nil
	}
	return cmd
}

// versionOf is what the linker set, else what `go install` or the checkout says.
func versionOf(linked string, build func() (*debug.BuildInfo, bool)) string {
	if linked != "" {
		return linked
	}
	info, ok := build()
	if !ok {
		return "unknown"
	}
	if v := info.Main.Version; v != "" && v != "(devel)" {
		return v
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			return "devel-" + s.Value[:min(12, len(s.Value))]
		}
	}
	return "devel"
}
