package cli

import (
	"fmt"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/tidemark-dev/tidemark/config"
	"github.com/tidemark-dev/tidemark/internal/cli/screen"
	"github.com/tidemark-dev/tidemark/internal/cli/session"
)

func (a *app) configCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "config",
		Short: "Check and show the settings",
		Long: `Check and show the settings, which come from flags, TIDEMARK_… variables and a
configuration file, ` + config.DefaultFile + ` of the working directory or the one that --config or
TIDEMARK_CONFIG names. docs/configuration.md describes each.`,
		Args: knownCommand,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(a.configCheckCommand(), a.configPrintCommand())
	return cmd
}

func (a *app) configCheckCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Check all settings, and report everything that is wrong with them",
		Long: `Check all settings, and report everything that is wrong with them: values that are not
taken, settings that do not go together, and what would keep a process from starting on this
machine, such as an address that other machines reach in dev mode or a data folder that this
user cannot write to. It starts nothing and connects to nothing.`,
		Example: `  tidemark config check --config /etc/tidemark.yaml`,
		Args:    cobra.NoArgs,
	}
	config.AddFlags(cmd.Flags(), "gateway", "worker", "server")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, err := session.Settings(cmd)
		if err != nil {
			return err
		}
		if err := c.Startable(cmd.Context()); err != nil {
			return err
		}
		set := 0
		for _, s := range c.Settings() {
			if s.Origin.Kind != "default" {
				set++
			}
		}
		from := "no file"
		if c.File() != "" {
			from = c.File()
		}
		fmt.Fprintf(a.out, "The configuration is valid: %s, %d of %d settings set.\n", from, set, len(c.Settings()))
		return nil
	}
	return cmd
}

func (a *app) configPrintCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "print",
		Short: "Show every setting in force, and where it came from",
		Long:  "Show every setting in force, and where it came from. Passwords are masked.",
		Example: `  tidemark config print
  tidemark config print --json | jq -r 'select(.origin != "default").key'`,
		Args: cobra.NoArgs,
	}
	config.AddFlags(cmd.Flags(), "gateway", "worker", "server")
	asJSON := screen.JSONFlag(cmd, "print each setting as a line of JSON")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, err := session.Settings(cmd)
		if err != nil {
			return err
		}
		if *asJSON {
			for _, s := range c.Settings() {
				screen.WriteLine(a.out, struct {
					Key      string `json:"key"`
					Value    string `json:"value"`
					Origin   string `json:"origin"`
					Where    string `json:"where,omitempty"`
					Variable string `json:"variable"`
				}{s.Key, s.Value, s.Origin.Kind, s.Origin.Where, s.Variable()})
			}
			return nil
		}
		t := tabwriter.NewWriter(a.out, 0, 0, 2, ' ', 0)
		for _, s := range c.Settings() {
			fmt.Fprintf(t, "%s\t%s\t%s\n", s.Key, screen.OneLine(s.Value), s.Origin)
		}
		return t.Flush()
	}
	return cmd
}
