package cli_test

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/rogpeppe/go-internal/testscript"
	"go.uber.org/goleak"
	_ "modernc.org/sqlite"

	"github.com/tidemark-dev/tidemark/internal/cli"
	"github.com/tidemark-dev/tidemark/internal/redistest"
)

// checkedM finds goroutines that the tests of this process have left.
type checkedM struct{ *testing.M }

func (m checkedM) Run() int {
	code := m.M.Run()
	if builtDir != "" {
		if err := os.RemoveAll(builtDir); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
	}
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

// built is the program as users have it, built once a run. The scripts start it some
// hundred times, and under the race detector a start alone takes longer than most
// commands do; the tests that spawn processes run this test's own program, with it.
var built = sync.OnceValues(func() (dir string, err error) {
	if dir, err = os.MkdirTemp("", "tidemark-program-"); err != nil {
		return "", err
	}
	builtDir = dir
	build := exec.Command("go", "build", "-buildvcs=false", "-o", filepath.Join(dir, "tidemark"), ".")
	build.Dir = "../.."
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the program: %w\n%s", err, out)
	}
	return dir, nil
})

var builtDir string // what is to be removed

// usePlain has a script run the built program.
func usePlain(env *testscript.Env) error {
	dir, err := built()
	if err == nil {
		env.Setenv("PATH", dir+string(os.PathListSeparator)+env.Getenv("PATH"))
	}
	return err
}

func TestMain(m *testing.M) {
	testscript.Main(checkedM{m}, map[string]func(){
		"tidemark": func() { os.Exit(cli.Main(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) },
	})
}

// The scripts run the command line as users do: as a process, in a folder of its own.
// Without --redis each command runs a real redis-server for the folder; REDIS is one
// that goes on between commands.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(env *testscript.Env) error {
			env.Setenv("REDIS", redistest.Server(env.T().(testing.TB)).URL())
			env.Setenv("TZ", "UTC")
			env.Setenv("LONG", strings.Repeat("long ", 40)+"!")
			return usePlain(env)
		},
		Cmds: commands,
	})
}

var commands = map[string]func(ts *testscript.TestScript, neg bool, args []string){
	"exits":   exits,
	"golden":  golden,
	"repeat":  repeat,
	"capture": capture,
	"redis":   command,
	"sqlite":  sqliteFile,
}

// The same for commands that speak to a server: each script has one of its own, on its
// own data folder.
func TestServerScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/server",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(env *testscript.Env) error {
			tb := env.T().(testing.TB)
			server := serve(tb, tb.TempDir(), "up")
			env.Defer(func() { server.drain() })
			env.Setenv("SERVER", "http://"+server.Addr)
			env.Setenv("ADDR", server.Addr)
			env.Setenv("TZ", "UTC")
			return usePlain(env)
		},
		Cmds: commands,
	})
}

// exits runs a program and checks its exit code: exits 3 tidemark job …
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE PROGRAM [ARG…]")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	got := 0
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		got = exit.ExitCode()
	case err != nil:
		ts.Check(err)
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d; standard error:\n%s", got, want, ts.ReadFile("stderr"))
	}
}

var (
	jobID  = regexp.MustCompile(`\b\d\d[0-9A-HJKMNP-TV-Z]{26}\b`)
	partID = regexp.MustCompile(`/1\.[a-z2-7]{26}-00000\b`)
)

// golden compares stdout or stderr with a file, in which JOB stands for any job's ID, and PART for the
// file of an artifact that has no other.
func golden(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: golden stdout|stderr FILE")
	}
	got := partID.ReplaceAllString(jobID.ReplaceAllString(ts.ReadFile(args[0]), "JOB"), "/PART")
	if want := ts.ReadFile(args[1]); got != want {
		ts.Fatalf("%s is\n%s\nwant\n%s", args[0], got, want)
	}
}

// repeat writes a file of N times a text: repeat FILE N TEXT [HEAD].
func repeat(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 3 {
		ts.Fatalf("usage: repeat FILE N TEXT [HEAD]")
	}
	n, err := strconv.Atoi(args[1])
	ts.Check(err)
	unquote := strings.NewReplacer(`\n`, "\n", `\0`, "\x00", `\3`, "\x03", `\4`, "\x04")
	var b bytes.Buffer
	if len(args) > 3 {
		b.WriteString(unquote.Replace(args[3]))
	}
	b.WriteString(strings.Repeat(unquote.Replace(args[2]), n))
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), b.Bytes(), 0o600))
}

// command asks the REDIS of the script something: redis HSET tm:schema version 99.
func command(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: redis COMMAND [ARG…]")
	}
	o, err := redis.ParseURL(ts.Getenv("REDIS"))
	ts.Check(err)
	client := redis.NewClient(o)
	words := make([]any, len(args))
	for i, a := range args {
		words[i] = a
	}
	ts.Check(errors.Join(client.Do(context.Background(), words...).Err(), client.Close()))
}

// sqliteFile runs statements on a SQLite file, which it makes: sqlite FILE SQL.
func sqliteFile(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: sqlite FILE SQL")
	}
	db, err := sql.Open("sqlite", ts.MkAbs(args[0]))
	ts.Check(err)
	_, err = db.ExecContext(context.Background(), args[1])
	ts.Check(errors.Join(err, db.Close()))
}

// capture sets a variable to the last output: capture NAME.
func capture(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: capture NAME")
	}
	ts.Setenv(args[0], strings.TrimSpace(ts.ReadFile("stdout")))
}
