package engine_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"pgregory.net/rapid"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/engine/runtime"
)

// A modelRun is a worker's side of an attempt: what it believes, whatever Redis has
// kept of it.
type modelRun struct {
	job   engine.JobID
	fence runtime.Fence // Seq: of the last report sent
	sent  [][]runtime.Report
}

// modelSteps are what a step may be, and how often it should come.
var modelSteps = []struct {
	name   string
	weight int
	do     func(*modelWorld)
}{
	{"report", 40, (*modelWorld).reportStep},
	{"enqueue", 12, (*modelWorld).enqueueStep},
	{"start", 12, (*modelWorld).startStep},
	{"receive", 4, (*modelWorld).receiveStep},
	{"received", 3, (*modelWorld).receivedStep},
	{"replay", 12, (*modelWorld).replayStep},
	{"cancel", 4, (*modelWorld).cancelStep},
	{"pause", 4, (*modelWorld).pauseStep},
	{"resume", 4, (*modelWorld).resumeStep},
	{"park", 3, (*modelWorld).parkStep},
	{"retry", 3, (*modelWorld).retryStep},
	{"stall", 4, (*modelWorld).stallStep},
	{"fail", 2, (*modelWorld).failStep},
	{"notify", 4, (*modelWorld).notifyStep},
	{"heartbeat", 4, (*modelWorld).heartbeatStep},
	{"snapshot", 2, (*modelWorld).snapshotStep},
	{"jobs", 2, (*modelWorld).jobsStep},
	{"job", 2, (*modelWorld).jobStep},
	{"fault", 4, (*modelWorld).faultStep},
	{"keep", 2, (*modelWorld).keepStep},
	{"lose the tail", 2, (*modelWorld).loseTailStep},
}

var (
	modelStepByName = map[string]func(*modelWorld){}
	modelStepName   = rapid.SampledFrom(weighted())
)

func weighted() (names []string) {
	for _, s := range modelSteps {
		modelStepByName[s.name] = s.do
		names = append(names, slices.Repeat([]string{s.name}, s.weight)...)
	}
	return names
}

// step does one thing, and holds what came of it against the model.
func (w *modelWorld) step(t *rapid.T) {
	w.t = t
	modelStepByName[modelStepName.Draw(t, "step")](w)
	w.counts.steps++
}

// anyTopic draws a topic; one of each shard most often, so that its stream fills.
func (w *modelWorld) anyTopic() engine.Topic {
	return modelTopics[[]int{0, 0, 0, 0, 1, 2, 3, 3, 3, 4}[w.pick("topic", 10)]]
}

// anyJob draws a job that ever was, also one that Redis has lost or deleted; the
// newest ones most often.
func (w *modelWorld) anyJob() (engine.JobID, bool) {
	s := w.shards[w.pick("shard", modelShards)]
	if len(s.order) == 0 {
		return "", false
	}
	return s.order[len(s.order)-1-w.pick("job", min(len(s.order), 12))], true
}

// startable draws a job, mostly one that waits for a worker, where there is any.
func (w *modelWorld) startable() (engine.JobID, bool) {
	if w.pick("any", 6) < 5 {
		var waiting []engine.JobID
		for _, s := range w.shards {
			for _, id := range s.order {
				if j := s.find(id); j != nil && j.waiting() {
					waiting = append(waiting, id)
				}
			}
		}
		if len(waiting) > 0 {
			return waiting[w.pick("job", len(waiting))], true
		}
	}
	return w.anyJob()
}

var modelTitles = []string{"Orders 2025", "", "quote \" slash \\ </script>", "ünïcödé 🌊\u2028", "bad \xff\xfe utf-8", "tab\tnul\x00esc\x1b"}

func (w *modelWorld) enqueueStep() {
	topic := w.anyTopic()
	s := w.shard(topic)
	spec := engine.Spec{Topic: topic, Type: "export", Title: modelTitles[w.pick("title", len(modelTitles))], Payload: len(s.order)}
	if w.chance("labels", 8) {
		spec.Labels = map[string]string{"by": "alice", "year": "2025"}
	}
	if k := w.pick("key", 8); k < 3 {
		spec.Key = fmt.Sprintf("k%d", k)
		spec.KeyLife = []engine.KeyLife{"", engine.KeyUntilFailed, engine.KeyWhileLive}[k]
	}
	want, existing := s.held("enqueue:" + string(topic) + ":" + spec.Key)
	got, err := w.e.Enqueue(w.ctx, spec)
	if err != nil {
		w.t.Fatalf("enqueue with key %q of %q: %v", spec.Key, want, err)
	}
	if got.Existing != existing || (existing && got.ID != want) {
		w.t.Fatalf("enqueue with key %q gives %+v, want the job %q", spec.Key, got, want)
	}
	if !existing {
		s.enqueue(got.ID, spec)
		w.settle()
	}
}

func (w *modelWorld) startStep() {
	id, ok := w.startable()
	if !ok {
		return
	}
	r := runtime.Report{Type: engine.JobStarted, Job: id, Fence: runtime.Fence{Attempt: 1, Token: runtime.NewToken(), Seq: 1}}
	if j := w.of(id).find(id); j != nil {
		r.Fence.Attempt = j.at
	}
	switch w.pick("start", 10) {
	case 7:
		r.Fence.Attempt = max(r.Fence.Attempt-1, 1)
	case 8:
		r.Fence.Attempt++
	case 9:
		r.Fence.Seq = 2
	}
	run := &modelRun{job: id, fence: r.Fence, sent: [][]runtime.Report{{r}}}
	w.runs = append(w.runs, run)
	w.submit([][]runtime.Report{{r}}, w.chance("together", 4))
}

// reportStep sends batches of one to four runs, in one call or as it comes.
func (w *modelWorld) reportStep() {
	if len(w.runs) == 0 {
		return
	}
	var batches [][]runtime.Report
	for range 1 + w.pick("batches", 8)/5*w.pick("more", 4) {
		batches = append(batches, w.draw(w.anyRun()))
	}
	w.submit(batches, w.chance("together", 2))
}

// anyRun draws a run: mostly one that is its job's current one, where there is any.
func (w *modelWorld) anyRun() *modelRun {
	among := w.runs
	if w.pick("stale", 6) < 5 {
		if current := slices.DeleteFunc(slices.Clone(w.runs), func(r *modelRun) bool { return !w.current(r) }); len(current) > 0 {
			among = current
		}
	}
	return among[len(among)-1-w.pick("run", min(len(among), 10))]
}

// current reports whether a run is the one that its job is waiting for to report.
func (w *modelWorld) current(r *modelRun) bool {
	j := w.of(r.job).find(r.job)
	return j != nil && j.active() && j.fence.Attempt == r.fence.Attempt && j.fence.Token == r.fence.Token
}

// draw makes a run's batch: mostly the next reports, but also an earlier batch
// again, part of one, reports in another order, and numbers that skip.
func (w *modelWorld) draw(run *modelRun) []runtime.Report {
	kind := w.pick("batch", 20)
	last := run.sent[len(run.sent)-1-w.pick("which", min(len(run.sent), 3))]
	switch kind {
	case 19:
		return last
	case 18:
		return last[w.pick("from", len(last)):]
	case 17: // an earlier batch again, and more
		again := slices.Clone(last)
		return append(again, w.reports(run, 1+w.pick("reports", 3))...)
	case 16:
		shuffled := slices.Clone(w.reports(run, 2+w.pick("reports", 4)))
		slices.Reverse(shuffled)
		return shuffled
	case 15:
		run.fence.Seq += uint64(1 + w.pick("skip", 3))
	case 14: // a worker that has lost its place
		run.fence.Seq = uint64(w.pick("seq", 4))
	case 13:
		stale := *run
		stale.fence.Token = "another"
		return w.reports(&stale, 1)
	default:
		// What a worker does when Redis answers with a gap: go on from what is known.
		if kind < 12 && w.current(run) {
			run.fence.Seq = w.of(run.job).find(run.job).fence.Seq
		}
	}
	return w.reports(run, 1+w.pick("reports", 6))
}

func (w *modelWorld) reports(run *modelRun, n int) []runtime.Report {
	batch := make([]runtime.Report, n)
	for i := range batch {
		run.fence.Seq++
		batch[i] = w.report(runtime.Report{Job: run.job, Fence: run.fence})
	}
	run.sent = append(run.sent, batch)
	return batch
}

var modelKinds = slices.Concat(
	slices.Repeat([]engine.RecordType{engine.JobProgress}, 60),
	slices.Repeat([]engine.RecordType{engine.JobCheckpoint, engine.JobStage, engine.JobLog}, 10),
	slices.Repeat([]engine.RecordType{engine.JobRetrying, engine.JobQueued}, 2),
	[]engine.RecordType{engine.JobSucceeded, engine.JobFailed, engine.JobCanceled, engine.JobPaused, engine.JobAwaiting, engine.JobStarted},
	slices.Repeat([]engine.RecordType{engine.JobArtifact}, 3),
)

var (
	modelTexts  = []string{"reading", "", "\"quoted\"\\\n", "nul \x00 and \x7f", "\xc3\x28 torn", "héllo 世界", strings.Repeat("long ", 200), strings.Repeat("läng", 200)}
	modelUnits  = []string{"rows", "", "B"}
	modelErrors = []engine.JobError{{Code: "error", Message: "the disk is full"}, {Code: "panic", Message: "runtime: \"nil\" \x01\xff"}}
)

// report fills in what happened.
func (w *modelWorld) report(r runtime.Report) runtime.Report {
	r.Type = modelKinds[w.pick("type", len(modelKinds))]
	r.Tenths = w.pick("tenths", 1001)
	if k := w.pick("shown", 6); k < 4 {
		text := w.pick("text", len(modelTexts))
		r.Shown = &runtime.Shown{
			Progress: engine.Progress{Done: int64(r.Tenths) * int64(k), Total: int64(k) * 1000, Unit: modelUnits[text%3]},
			Message:  modelTexts[text], Indeterminate: k == 1, ETA: time.Duration(k) * 700 * time.Millisecond,
		}
		if k == 3 {
			r.Shown.Stage = engine.Stage{Name: "read " + modelUnits[text%3], Index: text, Count: 7}
		}
	}
	switch r.Type {
	case engine.JobCheckpoint:
		r.Checkpoint = []byte(fmt.Sprintf("offset %d\x00\r\n\xff", r.Tenths))
		r.ArtifactState = modelArtifactState(r)
	case engine.JobArtifact:
		r.Artifacts = modelArtifacts(r)
	case engine.JobLog:
		r.Log = &engine.LogLine{Level: "warn", Text: modelTexts[r.Tenths%len(modelTexts)]}
	case engine.JobRetrying:
		r.Error, r.Retries = &modelErrors[r.Tenths%2], 1+r.Tenths%3
		r.RetryAt = time.UnixMilli(1_900_000_000_000 + int64(r.Tenths))
	case engine.JobFailed:
		r.Error = &modelErrors[r.Tenths%2]
	case engine.JobSucceeded:
		r.Result = []byte(`{"rows":` + fmt.Sprint(r.Tenths) + `}`)
		r.Artifacts = modelArtifacts(r)
	}
	return r
}

// submit sends the batches, in one call of the script a shard or as the committer
// takes them, and holds answers and records against the model.
func (w *modelWorld) submit(batches [][]runtime.Report, together bool) {
	type reply struct {
		acks []runtime.Ack
		err  error
	}
	replies := make([]chan reply, len(batches))
	send := func() {
		for i, b := range batches {
			replies[i] = make(chan reply, 1)
			done := replies[i]
			w.must(w.e.Submit(b, func(acks []runtime.Ack, err error) { done <- reply{acks, err} }))
		}
	}
	if together {
		w.e.Batch(send)
	} else {
		send()
	}
	answers := make([]reply, len(batches))
	for i := range replies {
		answers[i] = <-replies[i]
		if answers[i].err != nil || len(answers[i].acks) != len(batches[i]) {
			w.t.Fatalf("batch of job %s: %d answers, error %v", batches[i][0].Job, len(answers[i].acks), answers[i].err)
		}
	}
	wants := make([][]expected, len(batches))
	for i, b := range batches {
		wants[i] = w.of(b[0].Job).batch(b)
	}
	w.settle()
	for i, b := range batches {
		for n, want := range wants[i] {
			w.answered(b[n], answers[i].acks[n], want, len(batches) == 1 && len(b) == 1)
		}
	}
}

// answered holds an answer against what the model expects.
func (w *modelWorld) answered(r runtime.Report, got runtime.Ack, want expected, alone bool) {
	w.t.Helper()
	is := func() string {
		return fmt.Sprintf("%s %d.%d of job %s: answer %+v", r.Type, r.Fence.Attempt, r.Fence.Seq, r.Job, got)
	}
	if want.refused != nil {
		var gap *runtime.GapError
		if errors.As(got.Err, &gap) && want.gap == gap.Have && slices.Contains(want.refused, errGap) {
			w.counts.gaps++
			return
		}
		for _, err := range want.refused {
			if errors.Is(got.Err, err) {
				w.tally(err)
				return
			}
		}
		w.t.Fatalf("%s, want it refused as %v (have %d)", is(), want.refused, want.gap)
	}
	if got.Err != nil || got.Duplicate != want.dup {
		w.t.Fatalf("%s, want duplicate %v", is(), want.dup)
	}
	if want.dup {
		w.counts.duplicates++
	}
	switch known := want.record != nil; {
	case known && got.ID == want.record.id:
	case want.dup && !want.exact && got.ID == "":
	default:
		w.t.Fatalf("%s, want the ID of %+v", is(), want.record)
	}
	if (want.started != nil) != (got.Started != nil) {
		w.t.Fatalf("%s: what a started attempt is given: %+v", is(), got.Started)
	}
	if s := got.Started; s != nil && alone && want.started != nil {
		if fmt.Sprintf("%+v", *s) != fmt.Sprintf("%+v", *want.started) {
			w.t.Fatalf("%s: the attempt is given %+v, want %+v", is(), *s, *want.started)
		}
	}
}

func (w *modelWorld) cancelStep() {
	if id, ok := w.anyJob(); ok {
		w.wanted("cancel", w.e.Cancel(w.ctx, id), w.of(id).cancel(id))
		w.settle()
	}
}

func (w *modelWorld) pauseStep() {
	if id, ok := w.anyJob(); ok {
		w.wanted("pause", w.e.Pause(w.ctx, id), w.of(id).pause(id))
		w.settle()
	}
}

func (w *modelWorld) resumeStep() {
	if id, ok := w.anyJob(); ok {
		w.wanted("resume", w.e.Resume(w.ctx, id), w.of(id).resume(id))
		w.settle()
	}
}

// retryStep tries a job again, mostly one that has ended, where there is any.
func (w *modelWorld) retryStep() {
	id, ok := w.anyJob()
	if !ok {
		return
	}
	s := w.of(id)
	if ended := slices.DeleteFunc(slices.Clone(s.order), func(id engine.JobID) bool { return s.retryable(id) != nil }); len(ended) > 0 && !w.chance("any", 4) {
		id = ended[len(ended)-1-w.pick("ended", min(len(ended), 12))]
	}
	q := engine.RetryQuery{FromStart: w.chance("from the start", 3)}
	if w.chance("key", 2) {
		q.Key = "again"
	}
	want, existing := s.held("retry:" + string(id) + ":" + q.Key)
	got, err := w.e.Retry(w.ctx, id, q)
	refused := s.retryable(id)
	w.wanted("retry", err, refused)
	if refused != nil {
		return
	}
	if got.Existing != existing || (existing && got.ID != want) {
		w.t.Fatalf("retry of job %s gives %+v, want the job %q", id, got, want)
	}
	if !existing {
		s.retry(id, got.ID, q)
		w.settle()
	}
}

// parkStep says that a worker does not know a job's type.
func (w *modelWorld) parkStep() {
	id, ok := w.startable()
	if !ok {
		return
	}
	s := w.of(id)
	a, err := w.e.Current(w.ctx, id)
	if err == nil {
		a, err = w.e.Park(w.ctx, a)
	}
	want := s.park(id)
	w.wanted("park", err, want)
	w.settle()
	if want == nil && a.Parked.IsZero() {
		w.t.Fatalf("job %s is parked since %s", id, a.Parked)
	}
}

// stallStep claims a job from its worker, with its last heartbeat or with another.
func (w *modelWorld) stallStep() {
	id, ok := w.anyJob()
	if !ok {
		return
	}
	s, beat := w.of(id), "1000000"
	if j := s.find(id); j != nil && j.beat != "" && !w.chance("beat", 4) {
		beat = j.beat
	}
	if w.chance("abandon", 4) {
		why := &engine.JobError{Code: "worker_lost", Message: "its workers were lost too often"}
		w.wanted("abandon", w.e.Abandon(w.ctx, id, beat, *why), s.stall(id, beat, why))
		w.settle()
		return
	}
	next, err := w.e.Stall(w.ctx, id, beat)
	want := s.stall(id, beat, nil)
	w.wanted("stall", err, want)
	w.settle()
	if want == nil {
		j := s.find(id)
		waits := j.state == engine.Retrying
		if next.Job != id || next.Waiting != waits || (waits && (next.Attempt != j.at || next.Crashes != j.crashes)) {
			w.t.Fatalf("stall of job %s gives %+v, want attempt %d of a job that is %s", id, next, j.at, j.state)
		}
	}
}

func (w *modelWorld) failStep() {
	id, ok := w.anyJob()
	if !ok {
		return
	}
	s, attempt := w.of(id), 1
	if j := s.find(id); j != nil {
		attempt = j.at + w.pick("attempt", 4)/3
	}
	w.wanted("fail", w.e.Fail(w.ctx, id, attempt, modelErrors[0]), s.fail(id, attempt, modelErrors[0]))
	w.settle()
}

func (w *modelWorld) notifyStep() {
	topic, key := w.anyTopic(), ""
	if k := w.pick("key", 6); k < 3 {
		key = fmt.Sprint(k)
	}
	text := fmt.Sprintf(`{"text":"hello %d"}`, w.counts.records)
	w.must(w.e.Notify(w.ctx, topic, key, []byte(text)))
	w.shard(topic).notify(topic, key, text)
	w.settle()
}

func (w *modelWorld) heartbeatStep() {
	var beats []runtime.Beat
	var want []runtime.Flag
	var refused []*modelShard
	for _, run := range w.runs[max(0, len(w.runs)-6):] {
		b := runtime.Beat{Job: run.job, Attempt: run.fence.Attempt, Token: run.fence.Token}
		flag := w.of(run.job).heartbeat(b)
		if flag == runtime.FlagSuperseded {
			refused = append(refused, w.of(run.job))
		}
		beats, want = append(beats, b), append(want, flag)
	}
	for _, s := range refused {
		s.marks++ // counted nevertheless, behind those that are noted
	}
	got, err := w.e.Heartbeat(w.ctx, beats)
	w.must(err)
	if !slices.Equal(got, want) {
		w.t.Fatalf("heartbeats of %+v give %q, want %q", beats, got, want)
	}
}
