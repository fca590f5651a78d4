package datadir

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
)

// Errors to branch on. Those about the data folder name the path and the remedy.
var (
	// ErrNotFolder: the data folder, or a part of its path, is a file.
	ErrNotFolder = errors.New("not a folder")
	// ErrNotWritable: this user may not write there, or the disk is read-only.
	ErrNotWritable = errors.New("not writable")
	// ErrFull: the disk, the quota or the largest size of a file is reached.
	ErrFull = errors.New("no space left")
)

// folderError names what failed at path and what to do about it.
func folderError(doing, path string, err error) error {
	switch {
	case errors.Is(err, syscall.ENOTDIR), errors.Is(err, fs.ErrExist):
		return fmt.Errorf("%s: %s is %w: name a folder with --data: %w", doing, blame(path), ErrNotFolder, err)
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
		return fmt.Errorf("%s: %s is %w: give this user write access, or name another data folder with --data: %w",
			doing, path, ErrNotWritable, err)
	case Full(err):
		return fmt.Errorf("%s: %w at %s: free some, or name a data folder on another disk with --data: %w",
			doing, ErrFull, path, err)
	}
	return fmt.Errorf("%s at %s: %w", doing, path, err)
}

// Full reports whether an error says that there is no room. It takes the limit on one file's size (ulimit -f) for a full disk: the
// remedy is the same.
func Full(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) || errors.Is(err, syscall.EFBIG)
}

// blame finds the part of path that is a file where a folder is wanted.
func blame(path string) string {
	for i := 1; i <= len(path); i++ {
		if i < len(path) && !os.IsPathSeparator(path[i]) {
			continue
		}
		if info, err := os.Stat(path[:i]); err == nil && !info.IsDir() {
			return path[:i]
		}
	}
	return path
}
