package dataset

import (
	"strconv"
	"unsafe"

	"github.com/tidemark-dev/tidemark/worker/internal/rows"
	"github.com/tidemark-dev/tidemark/worker/internal/table"
)

// Cells is what the cells of a column are, as bits: what is known of a column needs no more.
type Cells uint16

// The bits. Their order is part of the checkpoint of an upload.
const (
	empty     Cells = 1 << iota // no cell, or an empty one
	word                        // a word that stands for null, where the column is not one of text
	boolean                     //
	integer                     // within 64 bits
	decimal                     //
	float                       //
	long                        // an integer or decimal that a float does not hold
	date                        //
	timestamp                   //
	text                        //
	nested                      // a JSON object or array

	numbers = integer | decimal | float | long
)

// exactDigits is how many decimal digits every double keeps.
const exactDigits = 15

// Kind is the kind of a column with such cells, and whether it has nulls.
func (c Cells) Kind(csv bool) (kind rows.Kind, nullable bool) {
	nullable = c&empty != 0
	switch values := c &^ (empty | word); {
	case values == 0:
		return rows.Text, nullable
	case values == boolean:
		kind = rows.Bool
	case values&^(integer|long) == 0:
		kind = rows.Int
	case values&^(integer|decimal|long) == 0:
		kind = rows.Decimal
	case values&^numbers == 0 && values&long == 0:
		kind = rows.Float
	case values == date:
		kind = rows.Date
	case values&^(date|timestamp) == 0:
		kind = rows.Timestamp
	case csv:
		return rows.Text, nullable
	case values&^(date|timestamp|text) == 0:
		kind = rows.Text
	default:
		kind = rows.JSON
	}
	return kind, nullable || csv && c&word != 0
}

// cellOf says what a cell of a CSV is.
func cellOf(cell []byte) Cells {
	if len(cell) == 0 {
		return empty
	}
	cell = trim(cell)
	if len(cell) == 0 {
		return word
	}
	switch c := cell[0]; {
	case c-'0' <= 9 || c == '-' || c == '.':
		if n := numberOf(cell, true); n != 0 {
			return n
		}
		if c-'0' <= 9 && len(cell) >= len("2006-01-02") {
			return timeOf(cell)
		}
	case c == 't' || c == 'T' || c == 'f' || c == 'F', c == 'n' || c == 'N' || c == '\\' || c == '#':
		switch table.Classify(cell).Kind {
		case table.Bool:
			return boolean
		case table.Null:
			return word
		}
	}
	return text
}

// trim cuts spaces, which many writers leave beside a delimiter.
func trim(cell []byte) []byte {
	for len(cell) > 0 && cell[0] == ' ' {
		cell = cell[1:]
	}
	for len(cell) > 0 && cell[len(cell)-1] == ' ' {
		cell = cell[:len(cell)-1]
	}
	return cell
}

func timeOf(cell []byte) Cells {
	switch v := table.OfString(cell); {
	case v.Kind == table.Date:
		return date
	case v.Kind == table.Timestamp && v.Detail%1000 == 0:
		return timestamp
	}
	return text
}

// numberOf tells numbers apart by how they are written; 0: it is none. JSON's rules hold, and with bare
// also numbers without a digit before or after their point are floats.
func numberOf(cell []byte, bare bool) Cells {
	i := 0
	if cell[0] == '-' {
		i = 1
	}
	start := i
	for i < len(cell) && cell[i]-'0' <= 9 {
		i++
	}
	whole := i - start
	if whole > 1 && cell[start] == '0' {
		return 0 // a code
	}
	if i == len(cell) {
		return integerOf(cell, whole, cell[start:])
	}
	if cell[i] == '.' {
		i++
		point := i
		for i < len(cell) && cell[i]-'0' <= 9 {
			i++
		}
		fraction := i - point
		switch {
		case whole+fraction == 0 || !bare && (whole == 0 || fraction == 0):
			return 0
		case i == len(cell) && whole > 0 && fraction > 0:
			return decimal | longOf(cell, whole+fraction)
		case i == len(cell):
			return float | longOf(cell, whole+fraction)
		}
	}
	if whole == 0 && !bare || cell[i]|0x20 != 'e' {
		return 0
	}
	// A number beyond a double's range is no number.
	if _, err := strconv.ParseFloat(view(cell), 64); err != nil || !exponent(cell[i+1:]) {
		return 0
	}
	return float
}

func exponent(s []byte) bool {
	if len(s) > 0 && (s[0] == '-' || s[0] == '+') {
		s = s[1:]
	}
	for _, c := range s {
		if c-'0' > 9 {
			return false
		}
	}
	return len(s) > 0
}

func integerOf(cell []byte, digits int, abs []byte) Cells {
	switch {
	case digits == 0:
		return 0
	case abs[0] == '0' && len(cell) > len(abs):
		return decimal // -0 is no integer
	case digits <= exactDigits:
		return integer
	case digits <= 18:
		return integer | long
	}
	if _, err := strconv.ParseInt(view(cell), 10, 64); err == nil {
		return integer | long
	}
	return decimal | long
}

// longOf is long, unless a double keeps the cell's digits: there are few, or a double was written as
// them.
func longOf(cell []byte, digits int) Cells {
	if digits <= exactDigits {
		return 0
	}
	if f, err := strconv.ParseFloat(view(cell), 64); err == nil {
		var room [32]byte
		if string(strconv.AppendFloat(room[:0], f, 'f', -1, 64)) == string(cell) {
			return 0
		}
	}
	return long
}

// view is cell as a string, for a call that does not keep it.
func view(cell []byte) string { return unsafe.String(unsafe.SliceData(cell), len(cell)) }

// memberOf says what a JSON value is.
func memberOf(value []byte) Cells {
	switch value[0] {
	case '"':
		if s := value[1 : len(value)-1]; len(s) >= len("2006-01-02") && s[0]-'0' <= 9 {
			return timeOf(s)
		}
		return text
	case '{', '[':
		return nested
	case 'n':
		return empty
	case 't', 'f':
		return boolean
	}
	if n := numberOf(value, false); n != 0 {
		return n
	}
	return nested // a number beyond every range stays JSON
}
