package multipart

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// A Writer adds bytes to an object under a hold. What Write has taken is durable once Close has
// returned nil.
type Writer struct {
	h     *Hold
	ctx   context.Context //nolint:containedctx // io.Writer has none
	buf   buffer
	first *State // when it began
	fresh bool   // buf has more than the tail
	err   error  // of the store; nothing is written after it
}

// Writer begins to add bytes, at the state's offset. The end of ctx does not end it: what has come is
// to be kept.
func (h *Hold) Writer(ctx context.Context) (*Writer, error) {
	st := h.State()
	w := &Writer{h: h, ctx: context.WithoutCancel(ctx), buf: buffer{memory: h.s.memory}, first: st}
	if st.Tail == nil {
		return w, nil
	}
	_, err := h.s.read(w.ctx, st.Tail.Key, "", w.load)
	if err == nil && w.buf.n != st.Tail.Bytes {
		err = fmt.Errorf("a tail has %d bytes, want %d", w.buf.n, st.Tail.Bytes)
	}
	if err != nil {
		w.buf.free()
		return nil, err
	}
	return w, nil
}

// load fills the buffer.
func (w *Writer) load(r io.Reader) error {
	w.buf.empty()
	b := make([]byte, 32<<10)
	for {
		n, err := r.Read(b)
		for at := 0; at < n; {
			k, err := w.buf.add(w.ctx, b[at:n])
			if err != nil {
				return err
			}
			at += k
		}
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
	}
}

// Write takes bytes, and sends each part that is full to the store.
func (w *Writer) Write(b []byte) (int, error) {
	n := 0
	for n < len(b) {
		if w.err != nil {
			return n, w.err
		}
		part := w.first.PartBytes
		k, err := w.buf.add(w.ctx, b[n:min(len(b), n+int(part-w.buf.n))])
		n += k
		if err != nil {
			return n, err
		}
		w.fresh = true
		if w.buf.n == part {
			w.err = w.part()
		}
	}
	return n, w.err
}

// part makes a part of the bytes.
func (w *Writer) part() error {
	st, s := w.h.State(), w.h.s
	if st.Next > maxParts {
		return ErrParts
	}
	upload := st.Upload
	if upload == "" {
		made, err := s.client.CreateMultipartUpload(w.ctx, &s3.CreateMultipartUploadInput{Bucket: &s.bucket, Key: &st.Target})
		if err != nil {
			return said("begin a multipart upload", err)
		}
		upload = aws.ToString(made.UploadId)
	}
	number, size := st.Next, w.buf.n
	out, err := s.client.UploadPart(w.ctx, &s3.UploadPartInput{
		Bucket: &s.bucket, Key: &st.Target, UploadId: &upload, PartNumber: &number, Body: w.buf.reader(), ContentLength: &size,
	})
	if err != nil && codeOf(err) == "" {
		// The store may have refused the part at once and hung up while its bytes were sent, so the answer is lost.
		one := int32(1)
		if _, asked := s.client.ListParts(w.ctx, &s3.ListPartsInput{Bucket: &s.bucket, Key: &st.Target, UploadId: &upload, MaxParts: &one}); codeOf(asked) == noSuchUpload {
			return w.h.reset(w.ctx)
		}
	}
	if codeOf(err) == noSuchUpload {
		return w.h.reset(w.ctx)
	}
	if err != nil {
		w.h.spent = true
		return said("send a part", err)
	}
	base := w.base()
	err = w.h.change(w.ctx, func(st *State) {
		if st.Next > number {
			return // an earlier write, whose answer was lost
		}
		st.Upload, st.Next, st.Tail, st.At = upload, number+1, nil, time.Now().UTC()
		st.Parts = append(st.Parts, Part{Number: number, ETag: aws.ToString(out.ETag)})
		st.Offset = base + size
	})
	if err != nil {
		w.h.spent = true
		return err
	}
	w.buf.free() // so that those who wait for memory have their turn
	w.fresh = false
	return nil
}

// base is how many bytes are in parts.
func (w *Writer) base() int64 {
	st := w.h.State()
	if st.Tail != nil {
		return st.Offset - st.Tail.Bytes
	}
	return st.Offset
}

// Undo drops what was written since the writer began.
func (w *Writer) Undo() error {
	w.fresh = false
	w.buf.empty()
	first := w.first
	return w.h.change(w.ctx, func(st *State) {
		st.Parts, st.Offset, st.Tail = first.Parts, first.Offset, first.Tail
	})
}

// Close makes durable what has come, and lets the state go unless the object has all its bytes. It
// returns how many are durable since the writer began. After an error of the store these are fewer
// than were written.
func (w *Writer) Close() (int64, error) {
	defer w.buf.free()
	err := w.err
	if err == nil {
		err = w.save()
	}
	st := w.h.State()
	if base := w.first.Tail; err == nil && base != nil && (st.Tail == nil || st.Tail.Key != base.Key) {
		if err := w.h.s.remove(w.ctx, base.Key); err != nil {
			w.h.s.log.Debug("a tail is left to the sweep", "error", err)
		}
	}
	return st.Offset - w.first.Offset, err
}

func (w *Writer) save() error {
	st, s := w.h.State(), w.h.s
	if !w.fresh {
		return nil
	}
	base := w.base()
	if base+w.buf.n == st.Size {
		return w.part()
	}
	tail := &Tail{Key: s.tailKey(st), Bytes: w.buf.n}
	_, err := s.client.PutObject(w.ctx, &s3.PutObjectInput{Bucket: &s.bucket, Key: &tail.Key, Body: w.buf.reader(), ContentLength: &tail.Bytes})
	if err != nil {
		return said("keep a tail", err)
	}
	err = w.h.change(w.ctx, func(st *State) {
		st.Tail, st.Offset, st.At = tail, base+tail.Bytes, time.Now().UTC()
		w.h.letGo(st)
	})
	if errors.Is(err, ErrLost) {
		// The answer of the write may be lost, so that the next holder has the tail.
		_ = s.removeUnnamed(w.ctx, st.name, tail.Key) // or the sweep does
	}
	return err
}

// reset begins the object anew, whose parts the store has dropped.
func (h *Hold) reset(ctx context.Context) error {
	err := h.change(ctx, func(st *State) {
		st.Upload, st.Parts, st.Tail, st.Offset, st.Next = "", nil, nil, 0, 1
	})
	return errors.Join(ErrVanished, err)
}
