package workbook

import (
	"strconv"
	"strings"

	"github.com/tidemark-dev/tidemark/worker/internal/table"
)

// A shown says what a number format shows of a number, as bits; 0: a number.
type shown uint8

const (
	day   shown = 1 << iota // year, month, or day
	clock                   // hour, minute, or second
	span                    // hours beyond 24 and the like
)

const (
	// maxStyles is how many formats of cells are read; Excel has 65,490.
	maxStyles = 1 << 16
	// maxFormats is how many number formats are read; Excel has a few hundred.
	maxFormats = 1 << 14
)

// styles says of each format of cells what it shows.
type styles []shown

// readStyles reads the part that ECMA-376 part 1, 18.8.39 describes.
func readStyles(s *scanner) (styles, error) {
	if err := s.root("styleSheet"); err != nil {
		return nil, err
	}
	own := map[int]shown{}
	var list styles
	within := ""
	for {
		t, err := s.next()
		switch {
		case err != nil:
			return nil, err
		case t == end:
			return list, nil
		case t != open:
		case s.depth == 2:
			within = string(s.name)
		case s.depth == 3 && within == "numFmts" && string(s.name) == "numFmt":
			if len(own) == maxFormats {
				return nil, table.Refuse("This workbook has more than %d number formats, the most that are read. Copy the cells into a new workbook.", maxFormats)
			}
			if id, err := strconv.Atoi(string(s.attr("numFmtId"))); err == nil {
				own[id] = shows(string(s.attr("formatCode")))
			}
		case s.depth == 3 && within == "cellXfs" && string(s.name) == "xf":
			if len(list) == maxStyles {
				return nil, table.Refuse("This workbook has more than %d cell formats, the most that are read. Copy the cells into a new workbook.", maxStyles)
			}
			id, _ := strconv.Atoi(string(s.attr("numFmtId"))) // 0 is General
			format, found := own[id]
			if !found {
				format = builtIn(id)
			}
			list = append(list, format)
		}
	}
}

// builtIn is what the formats show that have no code in the workbook (ECMA-376 part 1, 18.8.30). Some of 27 to 36
// and 50 to 58 are times in one of the languages that have them.
func builtIn(id int) shown {
	switch {
	case id >= 14 && id <= 17, id >= 27 && id <= 31, id >= 34 && id <= 36, id >= 50 && id <= 58:
		return day
	case id >= 18 && id <= 21, id == 32, id == 33, id == 45, id == 47:
		return clock
	case id == 22:
		return day | clock
	case id == 46:
		return span
	}
	return 0
}

// shows reads a number format's code up to its first semicolon, where the format for numbers that are not
// negative ends.
func shows(code string) shown {
	var s shown
	var last, pending byte // the last letter of a date or time, and an m that is a minute before an s
	for i := 0; i < len(code); i++ {
		c := code[i] | 0x20
		switch {
		case code[i] == ';':
			i = len(code)
			continue
		case code[i] == '"', code[i] == '[':
			until := map[byte]string{'"': `"`, '[': "]"}[code[i]]
			text, _, _ := strings.Cut(code[i+1:], until)
			if code[i] == '[' && text != "" && strings.Trim(strings.ToLower(text), strings.ToLower(text[:1])) == "" && strings.ContainsAny(text[:1], "hmsHMS") {
				s |= span
				last = text[0] | 0x20
			}
			i += len(text) + 1
			continue
		case code[i] == '\\', code[i] == '_', code[i] == '*':
			i++
			continue
		case len(code)-i >= 7 && strings.EqualFold(code[i:i+7], "general"):
			i += 6
			continue
		case len(code)-i >= 5 && strings.EqualFold(code[i:i+5], "am/pm"):
			s |= clock
			i += 4
			continue
		case len(code)-i >= 3 && strings.EqualFold(code[i:i+3], "a/p"):
			s |= clock
			i += 2
			continue
		case len(code)-i >= 3 && strings.EqualFold(code[i:i+3], "aaa"): // a weekday
			s |= day
			i += 2
			continue
		case c == 'e' && i+1 < len(code) && (code[i+1] == '+' || code[i+1] == '-'):
			continue // an exponent
		}
		switch c {
		case 'y', 'd', 'e', 'b':
			s |= day
		case 'h', 's':
			s |= clock
			if c == 's' {
				pending = 0
			}
		case 'm':
			switch last {
			case 'h':
				s |= clock
				c = 'h' // hh:mm, and the rest of the run
			case 'm':
			default:
				pending = c
			}
		default:
			continue
		}
		if pending != 0 && c != 'm' {
			s |= day
			pending = 0
		}
		last = c
	}
	if pending != 0 {
		s |= day
	}
	return s
}
