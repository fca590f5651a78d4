package ws

import "encoding/binary"

// A frameCounter counts the WebSocket frames (RFC 6455, section 5.2) that arrive on a
// connection: control frames and fragments too, which gorilla/websocket handles by itself,
// so that no handler hears of them.
type frameCounter struct {
	head [14]byte // of the frame that has begun, as far as it is there
	n    int
	left uint64 // of a payload
}

// count takes the next bytes of the connection, and returns how many frames begin in them.
// endless says that the last has a length with its top bit set, which no frame may have:
// it counts nothing after it.
func (f *frameCounter) count(p []byte) (frames int, endless bool) {
	for len(p) > 0 {
		if f.left > 0 {
			n := min(f.left, uint64(len(p)))
			f.left -= n
			p = p[n:]
			continue
		}
		f.head[f.n] = p[0]
		f.n++
		p = p[1:]
		if f.n < f.size() {
			continue
		}
		f.n = 0
		frames++
		switch short := f.head[1] & 0x7f; short {
		case 126:
			f.left = uint64(binary.BigEndian.Uint16(f.head[2:]))
		case 127:
			f.left = binary.BigEndian.Uint64(f.head[2:])
		default:
			f.left = uint64(short)
		}
		if f.left>>63 > 0 {
			return frames, true
		}
	}
	return frames, false
}

// size is that of the header, as far as it is known.
func (f *frameCounter) size() int {
	if f.n < 2 {
		return 2
	}
	size := 2
	switch f.head[1] & 0x7f {
	case 126:
		size += 2
	case 127:
		size += 8
	}
	if f.head[1]&0x80 > 0 {
		size += 4 // the mask
	}
	return size
}
