package screen

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/gateway/client"
	"github.com/tidemark-dev/tidemark/internal/pace"
)

// A Painter puts sights on a terminal, into lines or into JSON. Its methods are
// called one at a time.
type Painter interface {
	// taking shows a file that is read or written, in bytes, and what for.
	taking(name, doing string, done, total int64)
	// show shows a job as it is now.
	show(s sight)
	// note tells the user something beside the jobs.
	note(text string)
	// away says that the connection is lost, until the next sight of each job.
	away()
	// close leaves the last of everything on the screen.
	close()
}

// A sight is what is to be shown of a job.
type sight struct {
	// name is what the job is called: its title, else its type.
	name string
	job  engine.Job
	view engine.View
	// kind is the type of the record that brought it; "" for a snapshot.
	kind engine.RecordType
	log  *engine.LogLine
	// percent is what to show: never less than was shown of the job before.
	percent float64
	// rate is the present attempt's speed in units a second; 0 when it is not known.
	rate float64
	at   time.Time
	// cutOff says that the connection is lost: what was measured says nothing about now.
	cutOff bool
	// wait is where a waiting job waits, and what for, to stand behind its state.
	wait string
	// goesOn says that the present attempt was shown before: it was not begun just now.
	goesOn bool
}

// A Board is all that a command has shown of jobs. It decides what is news, keeps
// every percent at its highest, and measures speeds. Children of a job that it shows
// show in their parent's counts: of them it notes those that fail. Its methods may be
// called concurrently.
type Board struct {
	mu      sync.Mutex
	painter Painter
	held    map[engine.JobID]*holding
	early   []engine.View          // children in a snapshot whose parent has not come
	waiting map[engine.JobID]sight // jobs that wait, as they were shown last
	queues  []engine.Queue         // in which they wait, as they were read last
	now     func() time.Time
}

type holding struct {
	rev     uint64
	percent float64
	begun   int // the attempt that was shown last
	pace    pace.Pace
	// what the pace is measured of, and up to which count
	attempt int
	stage   string
	unit    string
	done    int64
}

// NewBoard makes a board that a painter shows. Close ends it.
func NewBoard(p Painter) *Board {
	return &Board{painter: p, held: map[engine.JobID]*holding{}, waiting: map[engine.JobID]sight{}, now: time.Now}
}

// show takes a job's view and reports whether it is news. A record that is older than
// what a snapshot has shown is none, except for its log line.
func (b *Board) show(name string, v engine.View, j engine.Job, r *engine.Record) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	h := b.hold(j.ID)
	news := j.Rev > h.rev
	if j.Parent != "" && b.held[j.Parent] != nil {
		h.rev = max(h.rev, j.Rev)
		if news && j.State == engine.Failed {
			b.painter.note(fmt.Sprintf("%s, a part of job %s, has failed: %s", title(j), j.Parent, reason(j)))
		}
		return news
	}
	s := sight{name: name, job: j, view: v, at: b.now()}
	if s.name == "" {
		s.name = title(j)
	}
	if r != nil {
		s.kind, s.log = r.Type, r.Log
	}
	if !news && s.log == nil {
		return false
	}
	s.goesOn = h.begun == j.Attempt
	h.rev, h.begun = max(h.rev, j.Rev), max(h.begun, j.Attempt)
	h.percent = max(h.percent, j.Percent)
	s.percent = h.percent
	if news {
		s.rate = h.speed(j, s.at)
	}
	b.paint(s)
	return true
}

// remove notes that a job was removed, unless it went with its parent.
func (b *Board) remove(name string, j engine.Job) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.held, j.ID)
	if j.Parent != "" {
		return
	}
	if name == "" {
		name = title(j)
	}
	b.painter.note(fmt.Sprintf("%s: job %s was removed", name, j.ID))
}

// hold gives what is held of a job.
func (b *Board) hold(id engine.JobID) *holding {
	h := b.held[id]
	if h == nil {
		h = &holding{}
		b.held[id] = h
	}
	return h
}

// reason is why a job failed.
func reason(j engine.Job) string {
	if j.Error == nil {
		return "it does not say why"
	}
	return j.Error.Message
}

// Update shows what Follow gave of jobs, and hands each job's view to held. name is
// what to call the job; "" for its title.
func (b *Board) Update(name string, u engine.Update, held func(engine.Job)) error {
	switch u.Kind {
	case engine.UpdateRecord:
		r, err := u.Entry.Record()
		if err != nil || r.Job == nil {
			return err
		}
		if r.Type == engine.JobRemoved {
			b.remove(name, *r.Job)
			return nil
		}
		view, err := viewOf(u.Entry)
		if err != nil {
			return err
		}
		b.show(name, view, *r.Job, &r)
		held(*r.Job)
	case engine.UpdateSnapshot:
		return b.snapshot(name, u, held)
	case engine.UpdateInterrupted:
		what := "Redis"
		if errors.Is(u.Err, client.ErrUnreachable) {
			what = "the server"
		}
		b.Note(what + " is away, waiting for it: " + u.Err.Error())
		b.away()
	}
	return nil
}

// snapshot shows a part of a snapshot. Children whose parent has not come wait for the last
// part, since it may stand behind them.
func (b *Board) snapshot(name string, u engine.Update, held func(engine.Job)) error {
	for _, v := range u.Jobs {
		b.expect(v.ID) // parents may stand behind their children
	}
	for _, v := range slices.Concat(u.Jobs, b.waited(u)) {
		j, err := v.Job()
		if err != nil {
			return err
		}
		if !u.Final && j.Parent != "" && !b.Knows(j.Parent) {
			b.wait(v)
			continue
		}
		b.show(name, v, j, nil)
		held(j)
	}
	return nil
}

// waited gives the children that waited, with the last part of their snapshot, and forgets
// those of one that did not come to its end.
func (b *Board) waited(u engine.Update) (children []engine.View) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if u.Final && u.Part > 1 {
		children = b.early
	}
	if u.Final || u.Part == 1 {
		b.early = nil
	}
	return children
}

func (b *Board) wait(child engine.View) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.early = append(b.early, child)
}

// viewOf is the job in a record, byte for byte.
func viewOf(e engine.Entry) (engine.View, error) {
	var r struct {
		Job json.RawMessage `json:"job"`
	}
	err := json.Unmarshal(e.JSON, &r)
	return engine.View{ID: e.JobID(), Topic: e.Topic, JSON: r.Job}, err
}

// Knows reports whether the job has been shown.
func (b *Board) Knows(id engine.JobID) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.held[id] != nil
}

// expect says that the job is about to be shown.
func (b *Board) expect(id engine.JobID) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.hold(id)
}

// speed measures from the attempt's first count in its present stage: what a resumed
// Attempt did not read again is not speed.
func (h *holding) speed(j engine.Job, at time.Time) float64 {
	p := j.Progress
	if p == nil || (j.State != engine.Running && j.State != engine.Receiving) {
		h.pace = pace.Pace{}
		return 0
	}
	stage := ""
	if j.Stage != nil {
		stage = j.Stage.Name
	}
	if h.attempt != j.Attempt || h.stage != stage || h.unit != p.Unit || p.Done < h.done {
		h.pace = pace.Pace{}
	}
	h.attempt, h.stage, h.unit, h.done = j.Attempt, stage, p.Unit, p.Done
	h.pace.Observe(at, p.Done)
	return h.pace.Rate()
}

// Taking shows a file that is read or written, in bytes, and what for.
func (b *Board) Taking(name, doing string, done, total int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.painter.taking(name, doing, done, total)
}

func (b *Board) away() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, h := range b.held {
		h.pace = pace.Pace{}
	}
	b.painter.away()
}

// Note tells the user something beside the jobs.
func (b *Board) Note(text string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.painter.note(text)
}

// Close leaves the last of everything on the screen.
func (b *Board) Close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.painter.close()
}

// Write makes a note of each line, so that a logger does not write into the bars.
func (b *Board) Write(line []byte) (int, error) {
	b.Note(string(line[:max(0, len(line)-1)]))
	return len(line), nil
}

// title is what a job is called.
func title(j engine.Job) string {
	if j.Title != "" {
		return j.Title
	}
	return j.Type
}
