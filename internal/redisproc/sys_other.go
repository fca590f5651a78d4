//go:build !unix

package redisproc

import (
	"errors"
	"io/fs"
	"syscall"
)

// Neither Redis nor Valkey is released for these systems. The package compiles
// there, so that programs with a Redis elsewhere do.

func ownSession() *syscall.SysProcAttr        { return nil }
func dieWithParent(*syscall.SysProcAttr)      {}
func signalAll(_ int, _ syscall.Signal) error { return errors.ErrUnsupported }
func awaitStopped(int) error                  { return errors.ErrUnsupported }
func ownedByUs(fs.FileInfo) bool              { return false }
func isReset(error) bool                      { return false }

const (
	sigTerm = syscall.SIGTERM
	sigKill = syscall.SIGKILL
	sigStop = syscall.Signal(-1)
	sigCont = syscall.Signal(-1)
)
