package redisproc

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
)

// maxSocketPath is the longest path of a Unix socket that every system takes:
// sun_path has 104 bytes on the BSDs and macOS, 108 on Linux, the final zero
// included.
const maxSocketPath = 100

// SocketPath returns a path by which clients can dial the socket name in dir.
// That is the plain absolute path as long as it has at most 100 bytes. A longer
// one cannot be dialled at all; then it leads through a symbolic link to dir in
// <temporary folder>/tidemark-<uid>, a folder that only this user can enter. The
// link's name is derived from dir, so every process finds the same one.
// The server needs no such link: it listens by a relative name.
func SocketPath(dir, name string) (string, error) {
	real, err := filepath.Abs(dir)
	if err != nil {
		return "", fmt.Errorf("socket in %s: %w", dir, err)
	}
	if path := filepath.Join(real, name); len(path) <= maxSocketPath {
		return path, nil
	}
	home := filepath.Join(os.TempDir(), "tidemark-"+strconv.Itoa(os.Getuid()))
	sum := sha256.Sum256([]byte(real))
	link := filepath.Join(home, hex.EncodeToString(sum[:6]))
	path := filepath.Join(link, name)
	if len(path) > maxSocketPath {
		return "", fmt.Errorf("the path of the socket %s in %s is too long, and so is its stand-in %s (at most %d bytes): "+
			"choose a data folder with a shorter path, or a shorter TMPDIR", name, real, path, maxSocketPath)
	}
	if err := privateDir(home); err != nil {
		return "", err
	}
	if err := os.Symlink(real, link); err != nil && !errors.Is(err, fs.ErrExist) {
		return "", fmt.Errorf("linking %s to %s: %w", link, real, err)
	}
	if target, err := os.Readlink(link); err != nil || target != real {
		return "", fmt.Errorf("%s should be a link to %s; remove it", link, real)
	}
	return path, nil
}

// privateDir makes dir, or checks that it is ours alone: anybody may have made
// it first in a shared temporary folder, to have us dial a server of theirs.
func privateDir(dir string) error {
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("making a folder for socket links: %w", err)
	}
	info, err := os.Lstat(dir)
	if err != nil {
		return fmt.Errorf("the folder for socket links: %w", err)
	}
	if !info.IsDir() || !ownedByUs(info) || info.Mode().Perm()&0o077 != 0 {
		return fmt.Errorf("%s is not a folder of this user alone (mode 0700): remove it, or set TMPDIR to another folder", dir)
	}
	return nil
}
