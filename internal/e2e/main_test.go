package e2e

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// patience bounds every wait; nothing takes nearly as long on a machine that is at
// peace.
const patience = 60 * time.Second

// soak asks for larger files and more cuts.
var soak = os.Getenv("TIDEMARK_SOAK") == "1"

// atOnce is how many tests run at the same time on a small machine: most of their time
// they wait for the network that is gone.
const atOnce = 4

func TestMain(m *testing.M) {
	flag.Parse()
	if runtime.GOMAXPROCS(0) < atOnce {
		if err := flag.Set("test.parallel", strconv.Itoa(atOnce)); err != nil {
			panic(err) // a flag of the testing package
		}
	}
	code := m.Run()
	if err := os.RemoveAll(builtIn); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}
