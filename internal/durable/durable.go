// Package durable writes blobs that outlive a power cut. A store of files renames a finished blob into
// place and leaves it to the system when the bytes and the name reach the disk; other stores answer
// once they keep a blob.
package durable

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"

	"gocloud.dev/blob"

	"github.com/tidemark-dev/tidemark/internal/storefault"
)

// S3 takes at most 10,000 parts, of at least minPart bytes.
const (
	maxParts = 9_000
	minPart  = 5 << 20
)

// Write writes a blob with what fill gives it, about size bytes. The blob appears under its key whole, or not
// at all where fill or the store returns an error. When Write returns nil, the bytes and the folders that
// lead to them are on the disk, if the store is one of files that keeps its temporary files beside the blobs.
func Write(ctx context.Context, bucket *blob.Bucket, key, mediaType string, size int64, fill func(io.Writer) error) error {
	// A canceled writer drops what it has; a closed one shows it.
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var file *os.File // the one behind the writer, in a store of files
	w, err := bucket.NewWriter(ctx, key, &blob.WriterOptions{
		ContentType: mediaType,
		BufferSize:  int(max(minPart, size/maxParts)),
		BeforeWrite: func(as func(any) bool) error { as(&file); return nil },
	})
	if err != nil {
		return err
	}
	if err = fill(w); err == nil && file != nil {
		err = file.Sync()
	}
	if err != nil {
		cancel()
		_ = w.Close() // says only that it was canceled
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	if file != nil {
		return syncFolders(filepath.Dir(file.Name()), key)
	}
	return nil
}

// Put is Write of bytes that the caller has.
func Put(ctx context.Context, bucket *blob.Bucket, key, mediaType string, data []byte) error {
	return Write(ctx, bucket, key, mediaType, int64(len(data)), func(w io.Writer) error {
		_, err := bytes.NewReader(data).WriteTo(w)
		return err
	})
}

// Link gives the blob from a second key, as durably as Write: a store of files has its bytes once then, and
// each key can be deleted without the other. It reports false, and has done nothing, where the store or the
// file system cannot do it; copy the blob then. Nobody may write to either blob any more.
func Link(ctx context.Context, bucket *blob.Bucket, key, from string) (linked bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var source, file *os.File
	r, err := bucket.NewReader(ctx, from, &blob.ReaderOptions{BeforeRead: func(as func(any) bool) error { as(&source); return nil }})
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	if source == nil {
		return false, nil
	}
	w, err := bucket.NewWriter(ctx, key, &blob.WriterOptions{
		ContentType: "application/octet-stream", // with a type the file is there at once
		BeforeWrite: func(as func(any) bool) error { as(&file); return nil },
	})
	if err != nil {
		return false, err
	}
	if file == nil {
		cancel()
		_ = w.Close() // says only that it was canceled
		return false, nil
	}
	// The writer knows where the blob is to be. It renames its temporary file, which is now another one.
	if err = os.Remove(file.Name()); err == nil {
		err = os.Link(source.Name(), file.Name())
	}
	if err != nil {
		cancel()
		_ = w.Close()     // as above
		return false, nil // the file system has no such links, or no more of this file
	}
	if err := source.Sync(); err != nil {
		cancel()
		_ = w.Close() // as above
		return false, err
	}
	if err := w.Close(); err != nil {
		return false, err
	}
	return true, syncFolders(filepath.Dir(file.Name()), key)
}

// syncFolders brings the name of a blob in dir to the disk, and those of the folders above it, up to the
// store's root. Any of them may be new.
func syncFolders(dir, key string) error {
	for range strings.Count(key, "/") + 1 {
		d, err := os.Open(dir)
		if err != nil {
			return err
		}
		if err := errors.Join(d.Sync(), d.Close()); err != nil {
			return err
		}
		dir = filepath.Dir(dir)
	}
	return nil
}

// Bare is a store's error without its text, which quotes keys: they tell topics, and what tokens an
// attempt had. It still wraps err. Bare(nil) is nil.
func Bare(err error) error {
	if errors.As(err, new(*storefault.Error)) {
		return err
	}
	return storefault.Of(err)
}
