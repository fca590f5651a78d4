package ws

import (
	"net"
	"testing"
	"time"
)

// deadlines records the deadlines that are set, as times from an epoch.
type deadlines struct {
	net.Conn
	epoch time.Time
	set   []time.Duration
}

func (d *deadlines) SetWriteDeadline(t time.Time) error {
	if t.IsZero() {
		d.set = append(d.set, 0)
	} else {
		d.set = append(d.set, t.Sub(d.epoch))
	}
	return nil
}

// TestWriteDeadlines: a deadline covers the frames that follow soon, and is never
// earlier than asked for.
func TestWriteDeadlines(t *testing.T) {
	epoch := time.Now()
	d := &deadlines{epoch: epoch}
	c := &conn{Conn: d, slack: 2 * time.Second}
	for _, step := range []struct {
		what string
		want time.Duration // of the deadline; 0: none is wanted
		set  time.Duration // of that which is set; -1: the one before stays
	}{
		{"the first frame", 32 * time.Second, 34 * time.Second},
		{"a frame soon after", 33 * time.Second, -1},
		{"the last that it covers", 34 * time.Second, -1},
		{"a frame later", 35 * time.Second, 37 * time.Second},
		{"a control frame, which has less time", 6 * time.Second, 8 * time.Second},
		{"the next frame", 36 * time.Second, 38 * time.Second},
		{"no deadline", 0, 0},
		{"a frame after that", 37 * time.Second, 39 * time.Second},
	} {
		before, at := len(d.set), time.Time{}
		if step.want > 0 {
			at = epoch.Add(step.want)
		}
		if err := c.SetWriteDeadline(at); err != nil {
			t.Fatal(err)
		}
		switch set := d.set[before:]; {
		case step.set < 0 && len(set) > 0:
			t.Errorf("%s: it is set again, to %s", step.what, set[0])
		case step.set >= 0 && (len(set) != 1 || set[0] != step.set):
			t.Errorf("%s: %v is set, want %s", step.what, set, step.set)
		}
	}
}
