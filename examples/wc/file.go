package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/tidemark-dev/tidemark/worker"
)

// File is what a child counts.
type File struct {
	Path  string
	Bytes int64
}

// Counts are of a file, or of all together.
type Counts struct {
	Lines int64 `json:"lines"`
	Words int64 `json:"words"`
	Bytes int64 `json:"bytes"`
	// Unread counts the files that could not be read.
	Unread int64 `json:"unread,omitempty"`
}

func (c *Counts) add(other Counts) {
	c.Lines += other.Lines
	c.Words += other.Words
	c.Bytes += other.Bytes
}

// countFile is the children's handler. Its checkpoint is what was counted so far, whose
// Bytes are also where to read on: state and progress are committed together, so nothing
// is counted twice.
func countFile(ctx context.Context, run *worker.Run, f File) error {
	var c Counts
	if _, err := run.Resume(&c); err != nil {
		return err
	}
	file, err := os.Open(f.Path)
	if err != nil {
		return worker.Permanent(err) // no retry makes it readable
	}
	defer file.Close()
	if _, err := file.Seek(c.Bytes, io.SeekStart); err != nil {
		return err
	}
	run.Unit("bytes")
	for text := bufio.NewReader(file); ; {
		line, err := text.ReadBytes('\n')
		c.Bytes += int64(len(line))
		c.Words += int64(len(bytes.Fields(line)))
		c.Lines += int64(bytes.Count(line, []byte{'\n'}))
		if errors.Is(err, io.EOF) {
			return run.Result(c)
		}
		if err != nil {
			return err
		}
		run.Progress(c.Bytes, f.Bytes)
		if run.CheckpointDue() {
			if err := run.Checkpoint(c); err != nil {
				return err
			}
		}
		if ctx.Err() != nil {
			return context.Cause(ctx) // canceled, paused, or told to hand the job back
		}
	}
}

// list finds the regular files below a folder, without hidden ones.
func list(folder string) ([]File, error) {
	var files []File
	err := filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case path != folder && d.Name()[0] == '.':
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		case !d.Type().IsRegular():
			return nil
		}
		info, err := d.Info()
		if err == nil {
			files = append(files, File{path, info.Size()})
		}
		return err
	})
	return files, err
}
