package columnar

import "github.com/tidemark-dev/tidemark/worker/internal/table"

// maxRowBytes bounds the text of a row, and each of its values before it becomes text.
const maxRowBytes = 8 << 20

var errRow = table.Refuse("A row of this Parquet file has more than %d MiB of text. Write it as several rows, or leave out what is large.", maxRowBytes>>20)

// row appends the next row of the group.
func (r *Reader) row(dst []byte) ([]byte, error) {
	for _, l := range r.leaves {
		if l.maxRep == 0 {
			if err := r.load(l); err != nil {
				return dst, err
			}
		}
		// The entry of a column that repeats is there since the row before.
		if l.ended || l.rep != 0 {
			return dst, damaged("a column has other rows than its row group")
		}
	}
	r.rowFrom = len(dst)
	dst, err := r.content(dst, r.root)
	if err == nil {
		err = r.bound(dst)
	}
	return append(dst, '\n'), err
}

// bound refuses a row of which there is too much text.
func (r *Reader) bound(dst []byte) error {
	if len(dst)-r.rowFrom > maxRowBytes {
		return errRow
	}
	return nil
}

// node appends one node, which may be null, or all of a node that repeats.
func (r *Reader) node(dst []byte, n *node) ([]byte, error) {
	switch there := n.leaves[0].def >= n.def; {
	case n.repetition == repeated && !there:
		open, end := n.brackets()
		return append(dst, open, end), r.pass(n)
	case n.repetition == repeated:
		return r.repeat(dst, n)
	case n.repetition == optional && !there:
		return append(dst, "null"...), r.pass(n)
	}
	return r.content(dst, n)
}

func (n *node) brackets() (open, end byte) {
	if n.shape == entries {
		return '{', '}'
	}
	return '[', ']'
}

// pass goes to the next entry of all columns under a node that is not there.
func (r *Reader) pass(n *node) error {
	for _, l := range n.leaves {
		if l.def >= n.def {
			return errLevels
		}
		if err := r.used(l); err != nil {
			return err
		}
	}
	return nil
}

// used goes to the next entry of a column that repeats, since its level says whether a list goes on.
func (r *Reader) used(l *leaf) error {
	if l.maxRep == 0 {
		return nil
	}
	return r.load(l)
}

func (r *Reader) repeat(dst []byte, n *node) (_ []byte, err error) {
	open, end := n.brackets()
	for sep := open; ; sep = ',' {
		dst = append(dst, sep)
		if dst, err = r.content(dst, n); err != nil {
			return dst, err
		}
		more := n.leaves[0].rep >= n.rep
		for _, l := range n.leaves {
			if l.rep > n.rep || (l.rep == n.rep) != more || more && l.def < n.def {
				return dst, errLevels
			}
		}
		if err := r.bound(dst); err != nil {
			return dst, err
		}
		if !more {
			return append(dst, end), nil
		}
	}
}

// content appends a node that is there, once.
func (r *Reader) content(dst []byte, n *node) (_ []byte, err error) {
	switch n.shape {
	case aValue:
		l := n.leaves[0]
		if l.def != l.maxDef {
			return dst, errLevels
		}
		if len(l.value.b) > maxRowBytes {
			return dst, errRow
		}
		dst = l.write(dst, &l.value)
		if err := r.bound(dst); err != nil {
			return dst, err
		}
		return dst, r.used(l)
	case itsOnly:
		return r.node(dst, n.children[0])
	case entries:
		from := len(dst)
		if dst, err = r.node(dst, n.children[0]); err != nil {
			return dst, err
		}
		dst = append(asKey(dst, from), ':')
		if err := r.bound(dst); err != nil { // each key in a key has about twice its text
			return dst, err
		}
		return r.node(dst, n.children[1])
	}
	dst = append(dst, '{')
	for _, child := range n.children {
		dst = append(dst, child.key...)
		if dst, err = r.node(dst, child); err != nil {
			return dst, err
		}
	}
	return append(dst, '}'), nil
}

// asKey makes the value from an offset on a string, unless it is one.
func asKey(dst []byte, from int) []byte {
	if dst[from] == '"' {
		return dst
	}
	value := append([]byte(nil), dst[from:]...)
	return appendString(dst[:from], value)
}
