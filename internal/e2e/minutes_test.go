package e2e

import (
	"net"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"

	"github.com/tidemark-dev/tidemark/internal/redisproc"
)

// A stranger's first ten minutes, as the README has them: the program that stands there makes a job, and
// the page of docs/protocol.md, which the program serves, shows it to its end in Chromium.
func TestTenMinutes(t *testing.T) {
	t.Parallel()
	address := func(host string) string {
		port, err := redisproc.FreePort(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return net.JoinHostPort(host, strconv.Itoa(port))
	}
	path, err := filepath.Abs("../../examples/ten-minutes.sh")
	if err != nil {
		t.Fatal(err)
	}
	page := address("localhost")
	p := start(t, "ten minutes", nil, "env", "ADDR="+address("127.0.0.1"), "PAGE="+page, "sh", path, t.TempDir())
	t.Cleanup(func() { // killed, it would leave what it has started behind
		_ = p.cmd.Process.Signal(syscall.SIGTERM) // it may have ended
		<-p.ended
	})
	p.awaitLog("your page: http://" + page + "/")
	b := newBrowser(t, nil)
	b.open("http://" + page + "/")
	b.do("shows", line{"selector": "#connection", "text": "live"})
	b.do("shows", line{"selector": "#jobs li", "text": "Orders 2025: running, "})
	b.do("shows", line{"selector": "#jobs li", "text": "Orders 2025: succeeded, 100 %"})
	p.awaitLog("Orders 2025  100.0%  succeeded")
	b.close()
	p.stop()
}
