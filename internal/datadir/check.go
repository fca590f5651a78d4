package datadir

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/tidemark-dev/tidemark/internal/redisproc"
)

// Check finds out whether a process of this user could open what o describes. It starts nothing and
// makes no folder; in folders that exist it makes a file and removes it. folder says what is wrong
// with the data folder, and wraps [ErrNotFolder], [ErrNotWritable] or [ErrFull] where it is that;
// server says why its Redis could not be run, and wraps redisproc.ErrNotInstalled where there is
// none.
func Check(o Options) (folder, server error) {
	if o.Dir == "" {
		o.Dir = DefaultDir
	}
	folder = checkFolder(o.Dir)
	if o.URL != "" || o.Embedded {
		return folder, nil
	}
	if folder == nil {
		_, folder = redisproc.SocketPath(redisDir(o.Dir), socketName)
	}
	switch {
	case o.ServerPath != "":
		server = redisproc.Executable(o.ServerPath)
	case o.NeverEmbedded:
		_, server = findServer()
	}
	return folder, server
}

// checkFolder checks the data folder and those in it that exist, or where it would be made.
func checkFolder(dir string) error {
	const doing = "checking the data folder"
	exists := false
	for _, each := range []string{dir, BlobDir(dir), redisDir(dir)} {
		info, err := os.Stat(each)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			continue
		case err == nil && !info.IsDir():
			err = syscall.ENOTDIR
		case err == nil:
			err = readable(each)
		}
		if err == nil {
			err = writable(each)
		}
		if err != nil {
			return folderError(doing, each, err)
		}
		exists = true
	}
	if exists {
		return nil
	}
	parent, err := filepath.Abs(dir)
	for err == nil {
		parent = filepath.Dir(parent)
		if _, err = os.Stat(parent); err == nil {
			return wrapped(doing, dir, writable(parent))
		}
		if errors.Is(err, fs.ErrNotExist) && parent != filepath.Dir(parent) {
			err = nil
		}
	}
	return folderError(doing, dir, err)
}

func wrapped(doing, path string, err error) error {
	if err == nil {
		return nil
	}
	return folderError(doing, path, err)
}

func readable(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	_, err = d.Readdirnames(1)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return errors.Join(err, d.Close())
}

// writable makes a file in a folder, and removes it.
func writable(dir string) error {
	f, err := os.CreateTemp(dir, ".writable-*")
	if err != nil {
		return err
	}
	_, err = f.WriteString("?") // a full disk still makes empty files
	return errors.Join(err, f.Close(), os.Remove(f.Name()))
}
