package cli

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/tidemark-dev/tidemark/engine"
)

// percent writes tenths, which is what there is.
func percent(p float64) string { return strconv.FormatFloat(p, 'f', 1, 64) + "%" }

// state is the job's state in a word or two.
func state(j engine.Job) string {
	switch {
	case j.Canceling:
		return "canceling"
	case j.Pausing:
		return "pausing"
	}
	return oneLine(string(j.State))
}

// children says how many of a job's children have ended: "4 of 10, 1 failed".
func children(c engine.Children) string {
	text := grouped(int64(c.Ended)) + " of " + grouped(int64(c.Count))
	if c.Failed > 0 {
		text += ", " + grouped(int64(c.Failed)) + " failed"
	}
	return text
}

// details says everything about a job but its name and percent: state, stage, count,
// time to go or speed, children, attempt, and what it waits for or died of.
func details(s sight) string {
	j := s.job
	var words []string
	say := func(format string, args ...any) { words = append(words, fmt.Sprintf(format, args...)) }
	say("%s", state(j)+s.wait)
	if j.State == engine.Running || j.State == engine.Receiving {
		if j.Stage != nil {
			say("%s", stage(*j.Stage))
		}
		if j.Progress != nil {
			say("%s", amount(*j.Progress))
		}
		switch {
		case j.ETASeconds != nil:
			say("%s left", spell(time.Duration(*j.ETASeconds)*time.Second))
		case s.rate > 0:
			say("%s/s", quantity(int64(s.rate), j.Progress.Unit))
		}
	}
	if c := j.Children; c != nil {
		if j.State == engine.Awaiting {
			say("waiting for its children: %s", children(*c))
		} else {
			say("children: %s", children(*c))
		}
	}
	if j.Attempt > 1 || j.State == engine.Retrying {
		say("attempt %d", j.Attempt)
	}
	if j.State == engine.Retrying && j.RetryAt != nil {
		say("again at %s", j.RetryAt.Local().Format(time.TimeOnly))
	}
	if j.Error != nil {
		say("%s", oneLine(j.Error.Message))
	}
	return strings.Join(words, " · ")
}

// milestone says what a record is about beside the job's view; "" for what the view
// itself shows.
func milestone(s sight) string {
	switch s.kind {
	case engine.JobLog:
		text := oneLine(s.log.Level) + ": " + oneLine(s.log.Text)
		if s.log.Suppressed > 0 {
			text += fmt.Sprintf(" (%d lines left out)", s.log.Suppressed)
		}
		return text
	case engine.JobStalled:
		return "its worker went silent; another takes over"
	case engine.JobQueued:
		if s.job.RetryOf != "" && s.job.Attempt == 0 {
			return "tries job " + oneLine(string(s.job.RetryOf)) + " again"
		}
	case engine.JobResumed:
		if s.goesOn {
			return "is not to pause any more"
		}
		if s.job.ResumedFrom != nil && *s.job.ResumedFrom > 0 {
			return "goes on from the checkpoint at " + percent(*s.job.ResumedFrom)
		}
		if s.job.Children != nil {
			return "" // its handler begins again, and its children do not
		}
		return "starts over, there is no checkpoint yet"
	}
	return ""
}

// amount is a count and its total, with one unit.
func amount(p engine.Progress) string {
	if p.Total <= 0 {
		return quantity(p.Done, p.Unit)
	}
	if p.Unit == "bytes" {
		return bytesOf(p.Done) + " of " + bytesOf(p.Total)
	}
	return grouped(p.Done) + " of " + quantity(p.Total, p.Unit)
}

func quantity(n int64, unit string) string {
	switch unit {
	case "bytes":
		return bytesOf(n)
	case "":
		return grouped(n)
	}
	return grouped(n) + " " + oneLine(unit)
}

// bytesOf writes a size in the largest unit that leaves a whole number before the
// point.
func bytesOf(n int64) string {
	v, unit := float64(n), "B"
	for _, larger := range []string{"KiB", "MiB", "GiB", "TiB"} {
		if v < 1024 {
			break
		}
		v, unit = v/1024, larger
	}
	if unit == "B" {
		return strconv.FormatInt(n, 10) + " B"
	}
	return strconv.FormatFloat(v, 'f', 1, 64) + " " + unit
}

// grouped writes 1234567 as 1,234,567.
func grouped(n int64) string {
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

// spell writes a duration in its two largest units.
func spell(d time.Duration) string {
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

// cut shortens s to n characters on one line.
func cut(s string, n int) string {
	r := []rune(oneLine(s))
	if len(r) <= n {
		return string(r)
	}
	return string(r[:n-1]) + "…"
}

// stage says which one of how many, where that is known.
func stage(g engine.Stage) string {
	if g.Count == 0 {
		return oneLine(g.Name)
	}
	return fmt.Sprintf("%s %d/%d", oneLine(g.Name), g.Index+1, g.Count)
}
