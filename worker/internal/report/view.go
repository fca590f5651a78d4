package report

import (
	"time"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/engine/runtime"
	"github.com/tidemark-dev/tidemark/internal/pace"
)

// view is what a run shows: where it is, in its own counts and in the bar. Its user
// holds the reporter's lock.
type view struct {
	scale scale
	// stage is the place in scale; the first one until a stage is entered.
	stage int
	// name is the stage's as it is shown, "" before one is entered. It may be one
	// that the scale does not have (loose): that moves no bar of a declared scale.
	name  string
	loose bool

	done, total int64
	counted     bool // Progress was called in this stage
	unit        string
	message     string

	// received is where the run's part of the bar begins, which the arrival of the job's
	// input has filled; 0 for a job that was not received. Then kind, the job's type,
	// stands in for the stage of a run that has none.
	received int64
	kind     string

	// mark is the highest place in the bar so far.
	mark int64
	pace pace.Pace
}

// declare sets the stages.
func (v *view) declare(stages []Stage) {
	v.scale = newScale(stages)
	v.stage = 0
	v.loose = v.name != ""
	if i := v.scale.index(v.name); i >= 0 {
		v.stage, v.loose = i, false
	}
}

// enter moves to a stage. It reports false for the one that the run is in.
func (v *view) enter(name string) bool {
	if name == v.name {
		return false
	}
	v.settle() // what was reached in the stage that is left
	v.name = name
	v.loose = true
	if i := v.scale.index(name); i >= 0 {
		v.stage, v.loose = i, false
	}
	v.done, v.total, v.counted = 0, 0, false
	v.message = "" // what was said of the stage that is left
	v.pace.Enter()
	return true
}

// clamped are the counts within their bounds.
func (v *view) clamped() (done, total int64) {
	done, total = max(v.done, 0), max(v.total, 0)
	if total > 0 {
		done = min(done, total)
	}
	return done, total
}

// settle moves the mark up to the present place.
func (v *view) settle() {
	if !v.loose || len(v.scale.ends) == 0 {
		done, total := v.clamped()
		place := v.received + v.scale.at(v.stage, done, total)*(whole-v.received)/whole
		v.mark = max(v.mark, place)
	}
}

// span is the part of the bar, in tenths, that the present stage has: all of it when there
// are no stages.
func (v *view) span() (from, to int) {
	low, high := int64(0), int64(whole)
	if len(v.scale.ends) > 0 && !v.loose {
		low, high = v.scale.share(v.stage)
	}
	tenths := func(place int64) int {
		return int((v.received + place*(whole-v.received)/whole) / partsPerTenth)
	}
	return tenths(low), tenths(high)
}

// show gives the view as a report wants it: percent in tenths, floored, and the rest.
func (v *view) show(now time.Time) (tenths int, shown *runtime.Shown) {
	v.settle()
	done, total := v.clamped()
	shown = &runtime.Shown{Message: v.message}
	if v.counted {
		shown.Progress = engine.Progress{Done: done, Total: total, Unit: v.unit}
		shown.Indeterminate = total == 0
		v.pace.Observe(now, v.mark)
		if total > 0 {
			shown.ETA = v.pace.Left(whole - v.mark)
		}
	}
	if v.name != "" {
		shown.Stage = engine.Stage{Name: v.name, Index: v.stage, Count: max(1, len(v.scale.names))}
	}
	if v.received > 0 {
		// To a person who watches, receiving was the first stage.
		if v.name == "" {
			shown.Stage = engine.Stage{Name: v.kind, Count: max(1, len(v.scale.names))}
		}
		shown.Stage.Index++
		shown.Stage.Count++
	}
	return int(v.mark / partsPerTenth), shown
}
