//go:build !(linux || darwin || freebsd || netbsd || openbsd || dragonfly)

package upload

import "os"

// tryFlock: without flock, only one gateway may have the folder.
func tryFlock(*os.File) (bool, error) { return true, nil }
