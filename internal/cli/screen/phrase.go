package screen

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/tidemark-dev/tidemark/engine"
)

// Percent writes tenths, which is what there is.
func Percent(p float64) string { return strconv.FormatFloat(p, 'f', 1, 64) + "%" }

// State is the job's state in a word or two.
func State(j engine.Job) string {
	switch {
	case j.Canceling:
		return "canceling"
	case j.Pausing:
		return "pausing"
	}
	return OneLine(string(j.State))
}

// Children says how many of a job's children have ended: "4 of 10 parts done, 1 failed".
func Children(c engine.Children) string {
	parts := " parts done"
	if c.Count == 1 {
		parts = " part done"
	}
	text := Grouped(int64(c.Ended)) + " of " + Grouped(int64(c.Count)) + parts
	if c.Failed > 0 {
		text += ", " + Grouped(int64(c.Failed)) + " failed"
	}
	return text
}

// details says everything about a job but its name and percent: state, stage, count,
// time to go or speed, children, attempt, and what it waits for or died of.
func details(s sight) string {
	j := s.job
	var words []string
	say := func(format string, args ...any) { words = append(words, fmt.Sprintf(format, args...)) }
	if j.State == engine.Receiving && j.Progress != nil {
		if j.Canceling || j.Pausing {
			say("%s", State(j))
		}
		say("%s", uploading(s))
	} else {
		say("%s", State(j)+s.wait)
	}
	if j.State == engine.Running {
		if j.Stage != nil {
			say("%s", Stage(*j.Stage))
		}
		if j.Progress != nil {
			say("%s", Amount(*j.Progress))
		}
	}
	if j.Children != nil {
		say("%s", Children(*j.Children))
	}
	if left := left(s); left != "" && j.State != engine.Receiving {
		say("%s", left)
	}
	if n := Attempt(j); n > 1 || j.State == engine.Retrying {
		say("attempt %d", n)
	}
	if j.State == engine.Retrying && j.RetryAt != nil {
		say("again at %s", j.RetryAt.Local().Format(time.TimeOnly))
	}
	switch {
	case j.Error != nil:
		say("%s", OneLine(j.Error.Message))
	case j.State == engine.Canceled:
		say("on request")
	}
	return strings.Join(words, " · ")
}

// uploading says what the bytes mean while a job's file arrives, and that the bar has a part for
// what follows: "uploading 1.8 of 1.9 MiB, 3s left; then analysis".
func uploading(s sight) string {
	text := "uploading " + Amount(*s.job.Progress)
	if left := left(s); left != "" {
		text += ", " + left
	}
	return text + "; then " + OneLine(s.job.Type)
}

// left is the time to go, or else the speed; "" while neither is known, and while the connection
// is cut off.
func left(s sight) string {
	j := s.job
	switch {
	case s.cutOff || j.State != engine.Running && j.State != engine.Receiving && j.State != engine.Awaiting:
	case j.ETASeconds != nil:
		return Spell(time.Duration(*j.ETASeconds)*time.Second) + " left"
	case s.rate > 0 && j.Progress != nil:
		return quantity(int64(s.rate), j.Progress.Unit) + "/s"
	}
	return ""
}

// Attempt is the number of a job's attempt as a person counts: a fan-out, after which the handler
// begins again, is none.
func Attempt(j engine.Job) int {
	if j.Children == nil {
		return j.Attempt
	}
	return max(1, j.Attempt-j.Children.Awaited)
}

// milestone says what a record is about beside the job's view; "" for what the view
// itself shows.
func milestone(s sight) string {
	switch s.kind {
	case engine.JobLog:
		text := OneLine(s.log.Level) + ": " + OneLine(s.log.Text)
		if s.log.Suppressed > 0 {
			text += fmt.Sprintf(" (%d lines left out)", s.log.Suppressed)
		}
		return text
	case engine.JobStalled:
		return "its worker went silent; another takes over"
	case engine.JobQueued:
		if s.job.RetryOf != "" && s.job.Attempt == 0 {
			return "tries job " + OneLine(string(s.job.RetryOf)) + " again"
		}
	case engine.JobResumed:
		if s.goesOn {
			return "is not to pause any more"
		}
		if s.job.Children != nil && Attempt(s.job) == 1 {
			return "" // its children have ended
		}
		if s.job.ResumedFrom != nil && *s.job.ResumedFrom > 0 {
			return "goes on from the checkpoint at " + Percent(*s.job.ResumedFrom)
		}
		if s.job.Children != nil {
			return "" // its handler begins again, and its children do not
		}
		return "starts over, there is no checkpoint yet"
	}
	return ""
}

// Amount is a count and its total, with one unit.
func Amount(p engine.Progress) string {
	if p.Total <= 0 {
		return quantity(p.Done, p.Unit)
	}
	if p.Unit == "bytes" {
		return bytesOfTotal(p.Done, p.Total)
	}
	return Grouped(p.Done) + " of " + quantity(p.Total, p.Unit)
}

func quantity(n int64, unit string) string {
	switch unit {
	case "bytes":
		return BytesOf(n)
	case "":
		return Grouped(n)
	}
	return Grouped(n) + " " + OneLine(unit)
}

// BytesOf writes a size in the largest unit that leaves a whole number before the
// point.
func BytesOf(n int64) string {
	scale, unit := unitOf(n)
	return scaled(n, scale) + " " + unit
}

// bytesOfTotal writes both in the unit of the total: "1.8 of 1.9 MiB".
func bytesOfTotal(done, total int64) string {
	scale, unit := unitOf(total)
	return scaled(done, scale) + " of " + scaled(total, scale) + " " + unit
}

func unitOf(n int64) (scale float64, unit string) {
	scale, unit = 1, "B"
	for _, larger := range []string{"KiB", "MiB", "GiB", "TiB"} {
		if float64(n)/scale < 1024 {
			break
		}
		scale, unit = scale*1024, larger
	}
	return scale, unit
}

func scaled(n int64, scale float64) string {
	if scale == 1 {
		return strconv.FormatInt(n, 10)
	}
	return strconv.FormatFloat(float64(n)/scale, 'f', 1, 64)
}

// Grouped writes 1234567 as 1,234,567.
func Grouped(n int64) string {
	s := strconv.FormatInt(n, 10)
	first := 0
	if n < 0 {
		first = 1
	}
	for i := len(s) - 3; i > first; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// Spell writes a duration in its two largest units.
func Spell(d time.Duration) string {
	d = d.Round(time.Second)
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%dm%02ds", int(d.Minutes()), int(d.Seconds())%60)
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh%02dm", int(d.Hours()), int(d.Minutes())%60)
	}
	return fmt.Sprintf("%dd", int(d.Hours()/24))
}

// Cut shortens s to n characters on one line.
func Cut(s string, n int) string {
	r := []rune(OneLine(s))
	if len(r) <= n {
		return string(r)
	}
	return string(r[:n-1]) + "…"
}

// Stage says which one of how many, where that is known.
func Stage(g engine.Stage) string {
	if g.Count == 0 {
		return OneLine(g.Name)
	}
	return fmt.Sprintf("%s %d/%d", OneLine(g.Name), g.Index+1, g.Count)
}
