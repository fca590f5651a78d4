package screen

import (
	"io"
	"os"

	"github.com/spf13/cobra"
	"golang.org/x/term"
)

// JSONFlag declares --json.
func JSONFlag(cmd *cobra.Command, what string) *bool {
	return cmd.Flags().Bool("json", false, what)
}

// leastColumns is what a terminal must have for bars; some say that they have none.
const leastColumns = 40

// OnTerminal reports whether w is a terminal that can move its cursor and has room for
// bars.
func OnTerminal(w io.Writer) bool {
	f, ok := Exact(w).(*os.File)
	if !ok || os.Getenv("TERM") == "dumb" {
		return false
	}
	columns, _, err := term.GetSize(int(f.Fd())) // an error: no terminal
	return err == nil && columns >= leastColumns
}

// NewBars makes the painter of terminals.
func NewBars(w io.Writer) Painter { return newBars(w) }

// NewLines makes the painter of logs and pipes.
func NewLines(w io.Writer) Painter { return newLines(w) }

// NewJSONLines makes the painter of programs; the page of package cli has the lines.
func NewJSONLines(w io.Writer) Painter { return newJSONLines(w) }
