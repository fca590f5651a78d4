package analysis

import (
	"slices"
	"strconv"

	"github.com/tidemark-dev/tidemark/worker/internal/table"
)

// settled is what a column's cells are, once all have been seen: whether digits are codes, and
// words such as NA missing values.
type settled struct {
	counts  [shownKinds]uint64 // of the kinds that a profile shows
	codes   bool               // integers are texts
	words   bool               // placeholders are texts
	missing uint64             // placeholders that are nulls
}

// shownKinds are those up to arrays; the others become one of them.
const shownKinds = table.Array + 1

var kindNames = [shownKinds]string{"boolean", "integer", "number", "date", "timestamp", "string", "object", "array"}

func (c *column) settle() settled {
	of := settled{counts: [shownKinds]uint64(c.counts[:shownKinds])}
	of.counts[table.Text] = c.texts()
	// One code with a leading zero makes codes of its neighbours, unless they show to be numbers.
	if c.counts[table.Code] > 0 && c.counts[table.Number] == 0 && !c.codes.signed {
		of.codes = true
		of.counts[table.Text] += of.counts[table.Integer]
		of.counts[table.Integer] = 0
	}
	n := c.counts[table.Placeholder]
	switch {
	case n == 0:
	case c.onlyOf(table.Integer, table.Number, table.Code), c.onlyOf(table.Date, table.Timestamp), c.onlyOf(table.Bool):
		of.missing = n
	default:
		of.words = true
		of.counts[table.Text] += n
	}
	return of
}

// onlyOf reports whether there are cells of these kinds, and of no others but placeholders.
func (c *column) onlyOf(kinds ...table.Kind) bool {
	some := false
	for k, n := range c.counts {
		if n == 0 || table.Kind(k) == table.Placeholder {
			continue
		}
		if !slices.Contains(kinds, table.Kind(k)) {
			return false
		}
		some = true
	}
	return some
}

// textStats describes the cells that are texts, with those that have turned out to be.
func (c *column) textStats(of settled) *TextStats {
	if of.counts[table.Text] == 0 {
		return nil
	}
	var r textRange
	bytes := c.textBytes
	if c.texts() > 0 {
		r.add(c.lowText, c.shortest)
		r.add(c.highText, c.longest)
	}
	more := func(text string) {
		kept, cut := prefix([]byte(text), c.sizes.text)
		r.add(extreme{kept, cut}, len(text))
	}
	if of.codes && c.counts[table.Integer] > 0 {
		bytes += c.wholeBytes
		more(c.codes.low.String())
		more(c.codes.high.String())
		r.long(len(jsonOf(c.smallest)))
		r.long(len(jsonOf(c.largest)))
	}
	if of.words {
		bytes += c.wordBytes
		for i, word := range table.Placeholders {
			if c.placeholders&(1<<i) != 0 {
				more(word)
			}
		}
	}
	return &TextStats{
		Min: r.low.String(), Max: r.high.String(),
		MinLength: int64(r.shortest), MeanLength: float64(bytes) / float64(of.counts[table.Text]), MaxLength: int64(r.longest),
	}
}

// textRange is the range of several texts, and of their lengths.
type textRange struct {
	some              bool
	low, high         extreme
	shortest, longest int
}

func (r *textRange) add(x extreme, length int) {
	if !r.some {
		*r = textRange{true, x, x, length, length}
		return
	}
	if r.low.compare(x.text, x.cut) > 0 {
		r.low = x
	}
	if r.high.compare(x.text, x.cut) < 0 {
		r.high = x
	}
	r.long(length)
}

func (r *textRange) long(length int) {
	r.shortest, r.longest = min(r.shortest, length), max(r.longest, length)
}

// typeName is the narrowest type that holds all values.
func (of settled) typeName() string {
	name := "null"
	for k, n := range of.counts {
		if n == 0 {
			continue
		}
		switch is := kindNames[k]; {
		case name == "null", name == "integer" && is == "number", name == "date" && is == "timestamp":
			name = is // kinds are in this order
		default:
			return "mixed"
		}
	}
	return name
}

func (of settled) typeCounts() *TypeCounts {
	several := 0
	for _, n := range of.counts {
		if n > 0 {
			several++
		}
	}
	if several < 2 {
		return nil
	}
	count := func(k table.Kind) int64 { return int64(of.counts[k]) }
	return &TypeCounts{
		Boolean: count(table.Bool), Integer: count(table.Integer), Number: count(table.Number), Date: count(table.Date),
		Timestamp: count(table.Timestamp), String: count(table.Text), Object: count(table.Object), Array: count(table.Array),
	}
}

// codes is what a column must know of its integers in case a later cell shows that they are codes:
// post codes, most of which do not begin with a zero. A column with a sign or a fraction has none.
// It keeps the first and last integer in the order of texts.
type codes struct {
	signed    bool
	low, high wholeText
}

// wholeText is an integer without a sign, in the order of its digits as text: its digits as if
// zeros followed up to maxDigits, which orders all but those that are equal then, and how many there are.
type wholeText struct {
	padded uint64
	digits uint8 // 0: there is none
}

// maxDigits is how many digits a padded integer has.
const maxDigits = 19

// tens are powers of ten.
var tens = func() (t [maxDigits + 1]uint64) {
	t[0] = 1
	for i := range maxDigits {
		t[i+1] = 10 * t[i]
	}
	return t
}()

func (w wholeText) before(than wholeText) bool {
	return w.padded < than.padded || w.padded == than.padded && w.digits < than.digits
}

func (w wholeText) String() string {
	return strconv.FormatUint(w.padded/tens[maxDigits-w.digits], 10)
}

// add takes an integer.
func (c *codes) add(v table.Value) {
	if v.Detail == 0 || c.signed {
		*c = codes{signed: true}
		return
	}
	w := wholeText{uint64(v.Whole) * tens[maxDigits-v.Detail], uint8(v.Detail)}
	if c.low.digits == 0 {
		c.low, c.high = w, w
		return
	}
	if w.before(c.low) {
		c.low = w
	} else if c.high.before(w) {
		c.high = w
	}
}

const codesBytes = 1 + 2*(8+1)

func (c *codes) encode(e *encoder) {
	e.bool(c.signed)
	if c.signed {
		return
	}
	for _, w := range []wholeText{c.low, c.high} {
		e.fixed(w.padded)
		e.byte(w.digits)
	}
}

func decodeCodes(d *decoder) (c codes) {
	if c.signed = d.bool(); c.signed {
		return c
	}
	for _, w := range []*wholeText{&c.low, &c.high} {
		w.padded, w.digits = d.fixed(), d.byte()
		if w.digits == 0 || w.digits > maxDigits {
			d.fail(errDamaged)
			w.digits = 1
		}
	}
	return c
}
