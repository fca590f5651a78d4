package upload

import (
	"crypto/sha256"
	"encoding"
	"encoding/hex"
	"fmt"
	"hash"
)

// A digest sums up a file's bytes in a goroutine of its own, beside the one that reads rows. Its methods are
// for one goroutine.
type digest struct {
	sum  hash.Hash
	at   int64 // how many bytes sum has; the goroutine's until sync
	from int64 // at, when the digest was made
	next int64 // the offset of the next Write

	full chan []byte   // bytes to sum up; nil asks for a sign
	free chan []byte   // buffers
	sign chan struct{} // all bytes before the nil are summed up
	done chan struct{}
}

const (
	digestBuffers     = 4
	digestBufferBytes = 256 << 10
)

// newDigest starts a digest, with a state that state has returned, or nil. Stop it.
func newDigest(state []byte, at int64) (*digest, error) {
	d := &digest{
		sum: sha256.New(), at: at, from: at,
		full: make(chan []byte, digestBuffers), free: make(chan []byte, digestBuffers),
		sign: make(chan struct{}), done: make(chan struct{}),
	}
	if state != nil {
		if err := d.sum.(encoding.BinaryUnmarshaler).UnmarshalBinary(state); err != nil {
			return nil, fmt.Errorf("resume SHA-256: %w", err)
		}
	}
	for range digestBuffers {
		d.free <- nil
	}
	go d.run()
	return d, nil
}

func (d *digest) run() {
	defer close(d.done)
	for b := range d.full {
		if b == nil {
			d.sign <- struct{}{}
			continue
		}
		_, _ = d.sum.Write(b) // a hash returns no error
		d.at += int64(len(b))
		d.free <- b
	}
}

// begin says at which offset the next Write begins. What was summed up before is passed over.
func (d *digest) begin(offset int64) { d.next = offset }

// Write implements io.Writer. It keeps nothing of p.
func (d *digest) Write(p []byte) (int, error) {
	n := len(p)
	p = p[min(max(d.from-d.next, 0), int64(n)):]
	d.next += int64(n)
	for len(p) > 0 {
		b := <-d.free
		if b == nil {
			b = make([]byte, digestBufferBytes)
		}
		k := copy(b[:cap(b)], p)
		d.full <- b[:k]
		p = p[k:]
	}
	return n, nil
}

// sync waits until all that was written is summed up.
func (d *digest) sync() {
	d.full <- nil
	<-d.sign
}

// state is what newDigest goes on from.
func (d *digest) state() (state []byte, at int64, err error) {
	d.sync()
	state, err = d.sum.(encoding.BinaryMarshaler).MarshalBinary()
	return state, d.at, err
}

// hex is the sum of all bytes.
func (d *digest) hex() string {
	d.sync()
	return hex.EncodeToString(d.sum.Sum(nil))
}

// stop ends the goroutine.
func (d *digest) stop() {
	close(d.full)
	<-d.done
}
