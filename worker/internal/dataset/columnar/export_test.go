package columnar

// Limit bounds what the Reader holds, so that tests need little.
func (r *Reader) Limit(bytes int64) { r.most = bytes }

// Ahead is how much room the Reader has for what is read ahead.
func (r *Reader) Ahead() (bytes int) {
	for _, l := range r.leaves {
		bytes += cap(l.src.room)
	}
	return bytes
}
