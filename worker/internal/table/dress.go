package table

import (
	"bytes"
	"slices"
	"unicode/utf8"
)

// Placeholders are words that stand for a missing number where the other values of a column are
// numbers. Their order is part of the encoding of an analysis.
var Placeholders = []string{
	"NA", "na", "N.A.", "n.a.", "NaN", "nan", "NAN", "None", "none", "nil", "(null)", "n/d", "N/D",
	"-", "--", "---", "–", "—", ".", "..", "...", "?", "*",
	"#DIV/0!", "#VALUE!", "#REF!", "#NAME?", "#NUM!", "#NULL!",
}

const longestPlaceholder = 7

// placeholder is the place of a cell in Placeholders, or -1.
func placeholder(cell []byte) int {
	if len(cell) > longestPlaceholder {
		return -1
	}
	return slices.Index(Placeholders, string(cell))
}

// Dress is what about a number keeps it from being read as one, as bits.
type Dress uint8

// The dresses of numbers.
const (
	DecimalComma Dress = 1 << iota
	Separators         // between thousands
	Percent
	Currency
)

// Names lists in words what d has.
func (d Dress) Names() []string {
	var names []string
	for i, name := range []string{"a decimal comma", "separators between thousands", "a percent sign", "a currency"} {
		if d&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	return names
}

var currencies = []string{"$", "€", "£", "¥", "₹", "EUR", "USD", "GBP", "CHF", "JPY"}

// spaces between thousands, beside the comma, the point and the apostrophe.
var thinSpaces = []string{" ", "\u00a0", "\u202f", "\u2009"}

const longestDressed = 40

// dressOf tells how a number is dressed; 0: it is none. Numbers that Classify reads have no dress.
func dressOf(cell []byte) Dress {
	var d Dress
	if len(cell) > longestDressed {
		return 0
	}
	if n := len(cell); n > 2 && cell[0] == '(' && cell[n-1] == ')' { // an accountant's minus
		cell = cell[1 : n-1]
	}
	cell = bytes.TrimLeft(cell, "+-")
	for _, c := range currencies {
		if rest, found := bytes.CutPrefix(cell, []byte(c)); found {
			cell, d = trimSpaces(rest), d|Currency
		} else if rest, found := bytes.CutSuffix(cell, []byte(c)); found {
			cell, d = trimSpaces(rest), d|Currency
		}
	}
	if rest, found := bytes.CutSuffix(cell, []byte{'%'}); found {
		cell, d = trimSpaces(rest), d|Percent
	}
	cell = bytes.TrimLeft(cell, "+-")
	body, ok := bodyOf(cell)
	if !ok {
		return 0
	}
	return d | body
}

func trimSpaces(cell []byte) []byte {
	for _, s := range thinSpaces {
		cell = bytes.TrimPrefix(bytes.TrimSuffix(cell, []byte(s)), []byte(s))
	}
	return cell
}

// bodyOf reads digits with separators between them: groups of three after a separator that repeats,
// and at most one other after the last.
func bodyOf(cell []byte) (d Dress, ok bool) {
	group, groups := 0, 0        // digits since the last separator, and the separators between thousands
	thousands, decimal := "", "" // the separators
	for len(cell) > 0 {
		if cell[0]-'0' <= 9 {
			group++
			cell = cell[1:]
			continue
		}
		sep := separator(cell)
		switch {
		case sep == "" || decimal != "":
			return 0, false
		case thousands == "" && groups == 0 && (group == 0 || group > 3) || thousands != "" && sep != thousands:
			if sep != "," && sep != "." || thousands != "" && group != 3 {
				return 0, false
			}
			decimal = sep
		case thousands != "" && group != 3:
			return 0, false
		default:
			thousands = sep
			groups++
		}
		cell, group = cell[len(sep):], 0
	}
	if group == 0 {
		return 0, false
	}
	if decimal == "" && thousands != "" && group != 3 {
		if groups > 1 || thousands != "," && thousands != "." {
			return 0, false
		}
		thousands, decimal = "", thousands // 1,5
	}
	if thousands != "" {
		d |= Separators
	}
	if decimal == "," {
		d |= DecimalComma
	}
	return d, true
}

func separator(cell []byte) string {
	switch cell[0] {
	case ',':
		return ","
	case '.':
		return "."
	case '\'':
		return "'"
	}
	for _, s := range thinSpaces {
		if bytes.HasPrefix(cell, []byte(s)) {
			return s
		}
	}
	if r, n := utf8.DecodeRune(cell); r == '’' {
		return string(cell[:n])
	}
	return ""
}
