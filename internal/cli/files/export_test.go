package files

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/tidemark-dev/tidemark/config"
	"github.com/tidemark-dev/tidemark/internal/cli/screen"
	"github.com/tidemark-dev/tidemark/internal/cli/session"
)

func (a at) artifact(context.Context, string, bool) (content, error) { return a.file, nil }

// Ending gives bytes, and with the last one is interrupted.
type ending struct {
	io.Reader
	interrupt func()
}

func (e ending) Read(p []byte) (int, error) {
	n, _ := e.Reader.Read(p)
	e.interrupt()
	return n, io.EOF
}

func (ending) Close() error { return nil }

// An interruption that comes with the last byte is too late; one before it says which command goes on.
func TestInterruptedExport(t *testing.T) {
	t.Chdir(t.TempDir())
	for _, c := range []struct {
		arrives int
		note    string
	}{{5, ""}, {3, "run tidemark download " + jobID + ".export.csv --output out.csv"}} {
		ctx, interrupt := context.WithCancelCause(t.Context())
		file := of(text[:5])
		file.open = func(context.Context, int64) (io.ReadCloser, error) {
			return ending{bytes.NewReader(text[:c.arrives]), func() { interrupt(session.ErrInterrupted) }}, nil
		}
		r, said := sending(at{file: file}, fmt.Sprintf(`{"id":%q,"rev":1,"type":"export","state":"succeeded","result":{"artifact":"export.csv","rows":1}}`, jobID))
		r.board = screen.NewBoard(screen.NewLines(said))
		r.session.Config, r.stop = &config.Config{}, func() error { return nil }
		x := &exporting{batch: r, output: "out.csv", force: true}
		x.payload.Dataset = jobID
		err := x.run(ctx)
		r.board.Close()
		if interrupted := c.note != ""; (err != nil) != interrupted || !strings.Contains(said.String(), c.note) {
			t.Errorf("with %d of 5 bytes it ends with %v, and says %q", c.arrives, err, said)
		}
		if got, err := os.ReadFile("out.csv"); err != nil || !bytes.Equal(got, text[:5]) {
			t.Errorf("OUT is %q, %v", got, err)
		}
	}
}
