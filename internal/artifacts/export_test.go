package artifacts

// Ungraceful has w delete tails as soon as a later one is committed.
func Ungraceful(w *Writer) { w.grace = 0 }
