package report

import (
	"fmt"
	"unicode/utf8"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/engine/runtime"
)

// Bounds of what a run shows, as engine checks them.
const (
	maxUnitBytes  = 32
	maxStageBytes = 64
	// maxStageRecords is how many changes of stage get a record of their own.
	maxStageRecords = 1000
)

// logBook counts an attempt's job.log records. All but the last that the cap allows
// go as they come; the newest of those beyond is held back to be the last one, at
// the end, with the count of the others.
type logBook struct {
	written    int
	held       *engine.LogLine
	suppressed int
	warned     map[string]bool // by what was cut
}

// take says whether a line goes now.
func (b *logBook) take(line *engine.LogLine, most int) bool {
	if b.written < most-1 {
		b.written++
		return true
	}
	if b.held != nil {
		b.suppressed++
	}
	b.held = line
	return false
}

// last is the record for the end, nil when there is none.
func (b *logBook) last() *engine.LogLine {
	if b.held != nil {
		b.held.Suppressed = b.suppressed
	}
	return b.held
}

// log writes a line, or holds it back. The caller holds the lock, and calls send
// without it.
func (r *Reporter) log(level, text string) {
	if r.cause != nil || r.sealed {
		return
	}
	line := &engine.LogLine{Level: level, Text: text}
	if r.logs.take(line, r.opts.LogLines) {
		r.push(runtime.Report{Type: engine.JobLog, Log: line}, nil)
	}
}

// fit cuts text to a bound, and says so once an attempt in the job's own log, where
// the handler's author will look. The caller holds the lock.
func (r *Reporter) fit(what, text string, most int, remedy string) string {
	short, whole := cut(text, most)
	if !whole && !r.logs.warned[what] {
		if r.logs.warned == nil {
			r.logs.warned = map[string]bool{}
		}
		r.logs.warned[what] = true
		r.log("warn", fmt.Sprintf("%s of %d bytes is cut to %d: %s", what, len(text), most, remedy))
	}
	return short
}

// cut shortens s to at most most bytes, between runes.
func cut(s string, most int) (short string, whole bool) {
	if len(s) <= most {
		return s, true
	}
	end := most
	for end > most-utf8.UTFMax && !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end], false
}
