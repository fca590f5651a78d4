package feed

import (
	"bytes"
	"io"
	"time"

	"github.com/tidemark-dev/tidemark/gateway/internal/transport"
)

const (
	// gathering is for how long a poll waits for more once it has something new.
	gathering = 250 * time.Millisecond
	// fullPoll is from how many bytes on a poll does not wait for more records.
	fullPoll = 256 << 10
)

// poll writes frames as the elements of a JSON array, as they come: what a poll holds does not grow with
// what it gives.
type poll struct {
	w     io.Writer
	until time.Time // without news
	last  time.Time // whatever is missing, unless there are frames
	slack time.Duration
	live  bool      // the client holds everything
	news  time.Time // since when there are some; zero: none
	bytes int
	full  bool
	any   bool
}

func newPoll(w io.Writer, wait, catchingUp time.Duration) *poll {
	now := time.Now()
	return &poll{w: w, until: now.Add(wait), last: now.Add(wait + catchingUp), slack: catchingUp}
}

func (*poll) begin() error { return nil }

// idle writes a space, which is nothing to JSON, so that a proxy does not take the poll for dead.
func (p *poll) idle() error { return p.put([]byte(" ")) }

func (p *poll) over() (bool, time.Time) {
	now := time.Now()
	at := p.last
	switch {
	case p.full:
		return true, at
	case !p.live: // a client that is behind, or has begun to get a snapshot, gets the rest
	case !p.news.IsZero():
		at = p.news.Add(gathering)
	default:
		at = p.until
	}
	return !now.Before(at), at
}

// frame writes a frame of a subscription, or a goodbye. What else is about the connection says nothing to
// a client whose connection ends with the answer.
func (p *poll) frame(f transport.Frame) error {
	if f.Sid == "" && !is(f, "goodbye") {
		return nil
	}
	// A snapshot that is cut moves no cursor, and so would be begun again, for ever.
	if last := time.Now().Add(p.slack); last.After(p.last) {
		p.last = last
	}
	switch {
	case is(f, "subscribed"):
		p.live = false
	case is(f, "live"):
		p.live = true
	case is(f, "snapshot"), is(f, "error"):
		p.note()
	case is(f, "records"):
		if !bytes.HasSuffix(f.Text, []byte(`"records":[]}`)) {
			p.note()
		}
		p.full = p.bytes+len(f.Text) >= fullPoll
	}
	p.bytes += len(f.Text)
	return p.element(f.Text)
}

func (p *poll) note() {
	if p.news.IsZero() {
		p.news = time.Now()
	}
}

func (p *poll) element(text []byte) error {
	sep := []byte(",\n")
	if !p.any {
		p.any, sep = true, []byte("[")
	}
	if err := p.put(sep); err != nil {
		return err
	}
	return p.put(text)
}

func (p *poll) put(text []byte) error {
	_, err := p.w.Write(text)
	return err
}

func (p *poll) end(why transport.Reason) error {
	if reason := unsaid[why]; reason != "" {
		if err := p.element(goodbye(reason, 0)); err != nil {
			return err
		}
	}
	if !p.any {
		return p.put([]byte("[]\n"))
	}
	return p.put([]byte("]\n"))
}

// is reports whether a frame is of a type, with which it begins.
func is(f transport.Frame, kind string) bool {
	return bytes.HasPrefix(f.Text, []byte(`{"type":"`+kind+`"`))
}
