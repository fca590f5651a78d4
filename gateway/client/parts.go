package client

import (
	"errors"
	"math/bits"
)

const (
	// firstPartBytes bounds the first part after a request without a bound was refused.
	firstPartBytes = 16 << 20
	// leastPartBytes is the least that an upload is divided into: a proxy that refuses as
	// much is not made for uploads.
	leastPartBytes = 64 << 10
	// cutsBeforeParts is how many requests for the same bytes a proxy may cut before parts
	// become smaller.
	cutsBeforeParts = 2
)

// errTooMuch: a proxy in front of the gateway refused a request for its size. The gateway
// refuses with a problem that has a code.
var errTooMuch error = tooMuch{}

type tooMuch struct{}

func (tooMuch) Error() string {
	return "a proxy on the way to the gateway refuses a request of this size"
}
func (tooMuch) Unwrap() error { return ErrProtocol }

// parts says how much of an upload goes into one request. At first that is all. Proxies
// bound what they take, nginx to 1 MiB unless its configuration says otherwise: they answer 413, or
// close the connection while the request is still being sent. Each such answer halves the
// parts, and so does each loss of the connection after which the gateway has no byte more
// than before, from the second on.
type parts struct {
	most int64 // bytes; 0: no bound

	offset, size int64 // of the last request
	wasCut       bool  // the last request lost its connection
	cuts         int   // so many requests in a row did so, all from offset
}

// next returns how much of what is left goes into a request from offset on.
func (p *parts) next(offset, left int64) int64 {
	if p.wasCut && offset == p.offset {
		p.cuts++
	} else {
		p.cuts = 0
	}
	if p.cuts >= cutsBeforeParts {
		p.smaller()
	}
	p.wasCut, p.offset, p.size = false, offset, left
	if p.most > 0 {
		p.size = min(left, p.most)
	}
	return p.size
}

// smaller makes parts smaller than the last request; false if they are as small as they get.
func (p *parts) smaller() bool {
	if p.size <= leastPartBytes {
		return false
	}
	below := int64(1) << (bits.Len64(uint64(p.size-1)) - 1) // the power of two below size
	p.most = max(leastPartBytes, min(firstPartBytes, below))
	return true
}

// failed takes note of why a request failed, and reports whether the next one, with smaller
// parts, may go at once.
func (p *parts) failed(err error) bool {
	if errors.Is(err, errTooMuch) {
		return p.smaller()
	}
	p.wasCut = errors.Is(err, ErrUnreachable)
	return false
}
