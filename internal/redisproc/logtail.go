package redisproc

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

const (
	logName       = "redis.log"
	logTailBytes  = 4 << 10
	logLimitBytes = 1 << 20
)

// ExitError says that a server ended before it was ready.
type ExitError struct {
	Dir    string // the server's folder
	Status string // how it ended, as the operating system says
	Log    string // the last lines of its log, at most 4 KiB
}

// Error carries the log's last lines, which are where Redis says why.
func (e *ExitError) Error() string {
	return fmt.Sprintf("redis server in %s ended before it was ready (%s); the last lines of its log:\n%s",
		e.Dir, e.Status, e.Log)
}

// LogTail returns the last lines of the log of the server in dir, at most
// 4 KiB; empty when there is none.
func LogTail(dir string) string {
	f, err := os.Open(filepath.Join(dir, logName))
	if err != nil {
		return ""
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil && info.Size() > logTailBytes {
		if _, err := f.Seek(-logTailBytes, io.SeekEnd); err != nil {
			return ""
		}
	}
	tail, _ := io.ReadAll(io.LimitReader(f, logTailBytes))
	if len(tail) == logTailBytes {
		if i := bytes.IndexByte(tail, '\n'); i >= 0 {
			tail = tail[i+1:]
		}
	}
	return strings.TrimSpace(string(tail))
}

// openLog opens the log for appending. A data folder lives for years, so a log
// beyond 1 MiB starts anew.
func openLog(dir string) (*os.File, error) {
	path := filepath.Join(dir, logName)
	flags := os.O_CREATE | os.O_WRONLY | os.O_APPEND
	if info, err := os.Stat(path); err == nil && info.Size() > logLimitBytes {
		flags |= os.O_TRUNC
	}
	return os.OpenFile(path, flags, 0o600)
}
