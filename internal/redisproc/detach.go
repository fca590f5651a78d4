package redisproc

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
)

// Detach starts a server as a daemon that listens on cfg.Socket, and returns
// its process ID once it answers. The daemon is no child of this process: it
// outlives it, whatever ends it, and is ended by [Shutdown].
//
// The daemon inherits keep, an open file, and holds it open until it ends. When
// the caller has locked the file with flock, the lock therefore lives exactly as
// long as the server, `kill -9` and process IDs used anew notwithstanding.
// Detach closes the caller's own copy in every case. alive is asked while the
// server starts whether it still runs; the file's lock is what should answer.
//
// When the server ends before it answers, the error is an [*ExitError]. A
// cancelled Detach may leave the daemon behind: the next one who finds it alive
// uses it.
func Detach(ctx context.Context, cfg Config, keep *os.File, alive func() bool) (pid int, err error) {
	defer keep.Close()
	if cfg.Socket == "" {
		return 0, errors.New("redis server: a daemon needs Socket")
	}
	if err := cfg.validate(); err != nil {
		return 0, err
	}
	cfg = cfg.withDefaults()
	if err := prepare(&cfg); err != nil {
		return 0, err
	}
	addr, err := SocketPath(cfg.Dir, cfg.Socket)
	if err != nil {
		return 0, err
	}
	// openLog cuts an overgrown log; the daemon opens the file by itself.
	log, err := openLog(cfg.Dir)
	if err != nil {
		return 0, fmt.Errorf("opening the redis server's log: %w", err)
	}
	if err := log.Close(); err != nil {
		return 0, fmt.Errorf("opening the redis server's log: %w", err)
	}
	cmd, err := command(cfg, true)
	if err != nil {
		return 0, err
	}
	// An error in the configuration is printed, before any log is open.
	var printed bytes.Buffer
	cmd.Stdout, cmd.Stderr = &printed, &printed
	cmd.ExtraFiles = []*os.File{keep}
	// This runs until the daemon has forked off, a few milliseconds.
	if err := cmd.Run(); err != nil {
		if cmd.ProcessState == nil {
			return 0, fmt.Errorf("starting %s: %w", cfg.Path, err)
		}
		return 0, &ExitError{Dir: cfg.Dir, Status: err.Error(), Log: strings.TrimSpace(printed.String() + LogTail(cfg.Dir))}
	}
	if err := keep.Close(); err != nil {
		return 0, fmt.Errorf("handing %s to the redis server: %w", keep.Name(), err)
	}
	pid, err = Await(ctx, "unix", addr, cfg.StartTimeout, alive)
	if errors.Is(err, ErrGone) {
		return 0, &ExitError{Dir: cfg.Dir, Status: "it left its folder's lock", Log: LogTail(cfg.Dir)}
	}
	return pid, err
}
