package analysis

import (
	"strconv"

	"github.com/tidemark-dev/tidemark/worker/internal/table"
)

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
