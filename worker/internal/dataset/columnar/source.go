package columnar

import "io"

// A source reads a column of a row group from its first byte to its last, some bytes ahead, since each call of r
// may be a request.
type source struct {
	r     io.ReaderAt
	at    int64 // of the byte after those in buf
	left  int64 // bytes of the column from at on
	ahead int   // bytes that buf holds
	buf   []byte
	room  []byte
}

func (s *source) begin(r io.ReaderAt, at, bytes int64, ahead int) {
	s.r, s.at, s.left, s.ahead, s.buf = r, at, bytes, ahead, nil
}

// rest is how many bytes come yet.
func (s *source) rest() int64 { return s.left + int64(len(s.buf)) }

// peek returns the next n bytes, or all that come yet, without reading past them, and maybe more.
func (s *source) peek(n int) ([]byte, error) {
	if len(s.buf) >= n || s.left == 0 {
		return s.buf, nil
	}
	want := int(min(int64(max(n, s.ahead)-len(s.buf)), s.left))
	if need := len(s.buf) + want; cap(s.room) < need {
		s.room = make([]byte, need)
	}
	s.room = s.room[:cap(s.room)]
	had := copy(s.room, s.buf)
	if err := readAt(s.r, s.room[had:had+want], s.at); err != nil {
		return nil, err
	}
	s.buf = s.room[:had+want]
	s.at, s.left = s.at+int64(want), s.left-int64(want)
	return s.buf, nil
}

// shrink lets go of room that a long header took, and of what was read ahead of it that does not fit.
func (s *source) shrink() {
	if cap(s.room) <= s.ahead {
		return
	}
	keep := min(len(s.buf), s.ahead)
	back := int64(len(s.buf) - keep)
	s.at, s.left = s.at-back, s.left+back
	s.room = append(make([]byte, 0, s.ahead), s.buf[:keep]...)
	s.buf = s.room
}

// skip passes over n bytes, of which there are as many.
func (s *source) skip(n int) {
	ahead := min(n, len(s.buf))
	s.buf = s.buf[ahead:]
	s.at, s.left = s.at+int64(n-ahead), s.left-int64(n-ahead)
}

// read fills p, for which there are enough bytes.
func (s *source) read(p []byte) error {
	if len(p) > len(s.buf) && len(p) <= s.ahead {
		if _, err := s.peek(len(p)); err != nil {
			return err
		}
	}
	n := copy(p, s.buf)
	s.buf = s.buf[n:]
	if n == len(p) {
		return nil
	}
	if err := readAt(s.r, p[n:], s.at); err != nil {
		return err
	}
	s.at, s.left = s.at+int64(len(p)-n), s.left-int64(len(p)-n)
	return nil
}
