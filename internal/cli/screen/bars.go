package screen

import (
	"fmt"
	"io"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"

	"github.com/tidemark-dev/tidemark/engine"
)

const (
	barWidth  = 30 // columns of a bar's drawing
	nameWidth = 24
	// detailWidth leaves room for the bar: a long error comes whole when the bars are
	// gone.
	detailWidth = 80
	barRefresh  = 100 * time.Millisecond
)

// bars is the painter of terminals.
type bars struct {
	screen *mpb.Progress
	jobs   map[engine.JobID]*bar
	files  map[string]*bar
}

// bar is a line of the screen. Its texts are read by mpb's goroutine.
type bar struct {
	drawn *mpb.Bar
	text  chan string // holds the newest one
	last  sight       // of its job
}

func newBars(w io.Writer) *bars {
	screen := mpb.New(mpb.WithOutput(Exact(w)), mpb.WithRefreshRate(barRefresh), mpb.PopCompletedMode())
	return &bars{screen: screen, jobs: map[engine.JobID]*bar{}, files: map[string]*bar{}}
}

// add puts a bar of a thousand tenths on the screen.
func (b *bars) add(name string) *bar {
	added := &bar{text: make(chan string, 1)}
	label, text := fmt.Sprintf("%-*s ", nameWidth, Cut(name, nameWidth)), ""
	added.drawn = b.screen.New(1000, mpb.BarStyle().Lbound("[").Filler("=").Tip(">").Padding(" ").Rbound("]"),
		mpb.BarWidth(barWidth),
		mpb.PrependDecorators(decor.Any(func(decor.Statistics) string { return label })),
		mpb.AppendDecorators(decor.Any(func(decor.Statistics) string {
			select {
			case text = <-added.text:
			default:
			}
			return text
		})),
	)
	return added
}

// set replaces what stands behind the bar, and moves it.
func (b *bar) set(tenths int64, text string) {
	select {
	case <-b.text: // mpb has not shown it yet, and need not
	default:
	}
	b.text <- text
	b.drawn.SetCurrent(tenths)
}

func (b *bars) show(s sight) {
	j := s.job
	shown := b.jobs[j.ID]
	if shown == nil {
		shown = b.add(s.name)
		b.jobs[j.ID] = shown
	}
	switch s.kind {
	case engine.JobLog, engine.JobStalled, engine.JobResumed:
		b.note(fmt.Sprintf("%s: %s", s.name, milestone(s)))
	}
	// At its total a bar is done for mpb, which is what it must be with its job's success
	// and with nothing else.
	tenths := min(int64(s.percent*10+0.5), 999)
	if j.State == engine.Succeeded {
		tenths = 1000
	}
	shown.last = s
	shown.set(tenths, behind(s))
	if j.State.Ended() && j.State != engine.Succeeded {
		shown.drawn.Abort(false)
	}
	if j.State.Ended() {
		shown.drawn.Wait()
		delete(b.jobs, j.ID)
	}
}

// behind is the text behind a job's bar.
func behind(s sight) string {
	return fmt.Sprintf("%6s  %s", Percent(s.percent), Cut(details(s), detailWidth))
}

func (b *bars) away() {
	for _, shown := range b.jobs {
		shown.last.cutOff = true
		shown.set(shown.drawn.Current(), behind(shown.last))
	}
}

func (b *bars) taking(name, doing string, done, total int64) {
	shown := b.files[name]
	if shown == nil {
		shown = b.add(name)
		b.files[name] = shown
	}
	tenths := 1000 * done / max(total, 1)
	shown.set(min(tenths, 999), fmt.Sprintf("%6s  %s · %s", Percent(float64(tenths)/10), doing, bytesOfTotal(done, total)))
	if done >= total {
		shown.drawn.Abort(true) // its job's bar takes over
		shown.drawn.Wait()
		delete(b.files, name)
	}
}

func (b *bars) note(text string) { _, _ = fmt.Fprintln(b.screen, OneLine(text)) }

func (b *bars) close() {
	for _, shown := range b.jobs {
		shown.drawn.Abort(false)
	}
	for _, shown := range b.files {
		shown.drawn.Abort(false)
	}
	b.screen.Wait()
}
