package screen

import (
	"fmt"
	"io"
	"time"

	"github.com/tidemark-dev/tidemark/engine"
)

// lineInterval is the shortest time between two lines of a job's progress.
const lineInterval = time.Second

// lines is the painter of logs and pipes: a line for every milestone, and for a job's
// progress a line at most every lineInterval, if anything has changed.
type lines struct {
	w    io.Writer
	last map[string]line // by job, or file
	now  func() time.Time
}

type line struct {
	text string
	at   time.Time
}

func newLines(w io.Writer) *lines {
	return &lines{w: w, last: map[string]line{}, now: time.Now}
}

func (l *lines) show(s sight) {
	text := fmt.Sprintf("%s  %s  %s", OneLine(s.name), Percent(s.percent), details(s))
	if s.kind == engine.JobLog {
		text = fmt.Sprintf("%s  %s", OneLine(s.name), milestone(s))
	} else if m := milestone(s); m != "" {
		text += " · " + m
	}
	l.print(string(s.job.ID), text, s.kind.Tick(), s.kind == engine.JobLog)
	if s.job.State.Ended() {
		delete(l.last, string(s.job.ID))
	}
}

func (l *lines) taking(name, doing string, done, total int64) {
	text := fmt.Sprintf("%s  %s: %s", OneLine(name), doing, bytesOfTotal(done, total))
	l.print("\x00"+name, text, done < total, false)
}

// print writes a line about something. What may wait is left out while the line before
// is young; what repeats that line is left out unless it stands for itself.
func (l *lines) print(key, text string, mayWait, stands bool) {
	last, now := l.last[key], l.now()
	if (mayWait && now.Sub(last.at) < lineInterval) || (text == last.text && !stands) {
		return
	}
	l.last[key] = line{text, now}
	fmt.Fprintln(l.w, text)
}

func (l *lines) note(text string) { fmt.Fprintln(l.w, OneLine(text)) }

func (l *lines) away() {} // a line is of its moment

func (l *lines) close() {}
