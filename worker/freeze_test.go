package worker_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/engine/runtime"
	"github.com/tidemark-dev/tidemark/internal/redistest"
	"github.com/tidemark-dev/tidemark/worker"
)

// frozen is how long a step takes at least in a process that was frozen.
const frozen = time.Second

// errWoken: the handler noticed by itself that its process was frozen.
var errWoken = errors.New("this process was frozen")

// haunt is a tally that notices when it was frozen, or superseded. Then it tries all
// that a handler can, and whatever somebody could who knows its fence, and says what
// it heard; in the end it claims to have done the job.
func haunt(ctx context.Context, e *engine.Engine, namespace string, run *worker.Run, p tally) error {
	key := fmt.Sprintf("%s:{%s}:j:%s", namespace, run.ID()[:2], run.ID())
	fence, err := e.Redis().HGet(ctx, key, "fk").Result()
	if err != nil {
		return err
	}
	before := time.Now()
	err = countUp(func(int) error {
		took := time.Since(before)
		before = time.Now()
		if took > frozen {
			return errWoken
		}
		return nil
	})(ctx, run, p)
	if !errors.Is(err, errWoken) && !errors.Is(err, worker.ErrSuperseded) {
		return err
	}

	say := func(what string, answer any) { fmt.Printf("%s%s: %v\n", saysGhost, what, answer) }
	run.Stages(worker.Stage{Name: "ghost"})
	run.Stage("ghost")
	run.Unit("ghosts")
	run.Message("ghost")
	run.Progress(1, 1)
	run.Log("info", "ghost")
	// These wait for nothing; what is reported later waits behind them.
	for _, what := range []string{"Stages", "Stage", "Unit", "Message", "Progress", "Log"} {
		say(what, unanswered)
	}
	say("Checkpoint", run.Checkpoint(tallied{}))
	say("Checkpoint again", run.Checkpoint(tallied{}))

	// The successor's number, once there is one, and its own until then.
	seq, err := e.Redis().HGet(context.Background(), key, "sq").Uint64()
	if err != nil {
		return err
	}
	_, token, _ := strings.Cut(fence, ".")
	ended := &engine.JobError{Code: "ghost", Message: "ghost"}
	for _, r := range []runtime.Report{
		{Type: engine.JobProgress, Tenths: 1000, Shown: &runtime.Shown{Message: "ghost"}},
		{Type: engine.JobCheckpoint, Checkpoint: []byte("{}")},
		{Type: engine.JobStage, Shown: &runtime.Shown{Stage: engine.Stage{Name: "ghost"}}},
		{Type: engine.JobLog, Log: &engine.LogLine{Level: "info", Text: "ghost"}},
		{Type: engine.JobSucceeded, Result: []byte(`"ghost"`)},
		{Type: engine.JobFailed, Error: ended},
		{Type: engine.JobRetrying, Error: ended, RetryAt: time.Now(), Retries: 1},
		{Type: engine.JobQueued},
		{Type: engine.JobPaused},
		{Type: engine.JobCanceled},
		{Type: engine.JobStarted},
	} {
		r.Job, r.Fence = run.ID(), runtime.Fence{Attempt: run.Attempt(), Token: token, Seq: seq + 1}
		acks, err := runtime.Of(e).Commit(context.Background(), r)
		if err == nil && acks[0].Err == nil {
			say("Commit of "+string(r.Type), "accepted as "+acks[0].ID)
			continue
		}
		if err == nil {
			err = acks[0].Err
		}
		say("Commit of "+string(r.Type), err)
	}
	flags, err := runtime.Of(e).Heartbeat(context.Background(), []runtime.Beat{{Job: run.ID(), Attempt: run.Attempt(), Token: token}})
	if err == nil && flags[0] == runtime.FlagSuperseded {
		err = runtime.ErrSuperseded
	}
	say("Heartbeat", err)
	say("Result", unanswered)
	if err := run.Result("ghost"); err != nil {
		return err
	}
	say("success", unanswered)
	return nil
}

// unanswered stands in the ledger where a call has no answer; the stream has it.
const unanswered = "no answer"

// tries is how often a ghost writes.
const tries = 6 + 2 + 11 + 1 + 2

// judge reads a ghost's ledger: nothing that it tried was accepted.
func judge(ledger []string) error {
	var errs []error
	answered := 0
	for _, line := range ledger {
		what, answer, _ := strings.Cut(line, ": ")
		if answer == unanswered {
			continue
		}
		answered++
		refused := false
		for _, why := range []error{runtime.ErrSuperseded, worker.ErrSuperseded, engine.ErrEnded} {
			refused = refused || strings.Contains(answer, why.Error())
		}
		if !refused {
			errs = append(errs, fmt.Errorf("%s was answered: %s", what, answer))
		}
	}
	if len(ledger) != tries || answered < 14 {
		errs = append(errs, fmt.Errorf("the ghost tried %d things and heard %d answers, want %d and at least 14", len(ledger), answered, tries))
	}
	return errors.Join(errs...)
}

func TestFrozenWorkerWritesNothingWhenItWakes(t *testing.T) {
	none := func(*redistest.Proxy) {}
	for _, c := range []struct {
		name  string
		wire  func(*redistest.Proxy) // what becomes of what is on the wire when it freezes
		wakes engine.State           // when it wakes
	}{
		{"before the next attempt", none, engine.Retrying},
		{"beside the next attempt", none, engine.Running},
		{"after the end", none, engine.Succeeded},
		{"with a commit on the wire", (*redistest.Proxy).Stall, engine.Running},
		{"with an answer on the wire", (*redistest.Proxy).StallReplies, engine.Running},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := redistest.Server(t)
			proxy := redistest.NewProxy(t, s.Addr())
			namespace := fmt.Sprintf("t%d", namespaces.Add(1))
			e := openIn(t, s.URL(), namespace)
			p, err := spawn(soon(t), t, role{URL: proxy.URL(), Namespace: namespace, Leases: patientLeases})
			if err != nil {
				t.Fatal(err)
			}
			work := tally{Steps: 500}
			job := enqueue(t, e, "haunted", func(s *engine.Spec) { s.Payload = work })
			awaitRecord(t, e, job, func(r engine.Record) bool { return r.Type == engine.JobCheckpoint && r.Job.Percent >= 20 })
			rescue := runtime.RescueQueue(engine.DefaultQueue)
			if c.wakes == engine.Retrying {
				if err := inspect(e).PauseQueue(e.QueueName(rescue)); err != nil {
					t.Fatal(err)
				}
			}
			c.wire(proxy)
			// Steps go on until the next checkpoint, which is due 50 ms after the last,
			// waits for its answer.
			pause(soon(t), 100*time.Millisecond)
			p.signal(t, syscall.SIGSTOP)

			o := brief(e)
			shortLeases.set(&o)
			w := build(t, o)
			awake := make(chan struct{})
			worker.Handle(w, "haunted", countUp(func(int) error {
				if c.wakes == engine.Running {
					<-awake // the ghost has had its chance
				}
				return nil
			}))
			start(t, w)
			first := map[engine.State]engine.RecordType{
				engine.Retrying: engine.JobStalled, engine.Running: engine.JobResumed, engine.Succeeded: engine.JobSucceeded,
			}[c.wakes]
			awaitRecord(t, e, job, func(r engine.Record) bool { return r.Type == first })
			proxy.Unstall() // to the frozen process's own connections
			p.signal(t, syscall.SIGCONT)

			ledger, err := p.say(soon(t), saysGhost, tries)
			if err == nil {
				_, err = p.say(soon(t), saysLeft, 1)
			}
			if err := errors.Join(err, judge(ledger)); err != nil {
				t.Errorf("%v; the ledger:\n%s", err, strings.Join(ledger, "\n"))
			}
			close(awake)
			if c.wakes == engine.Retrying {
				if err := inspect(e).UnpauseQueue(e.QueueName(rescue)); err != nil {
					t.Fatal(err)
				}
			}
			all := history(t, e, job, nil)
			if found := survival(all, 1, fmt.Append(nil, work.sum())); len(found) > 0 {
				t.Errorf("%q\n%s", found, tell(all))
			}
			if _, after := split(all, engine.JobStalled); strings.Contains(tell(after), "ghost") || count(after, engine.JobLog) != 0 {
				t.Errorf("a ghost's records:\n%s", tell(after))
			}
		})
	}
}

// split gives the records before the first of a type, and those after it.
func split(all []engine.Record, at engine.RecordType) (before, after []engine.Record) {
	for i, r := range all {
		if r.Type == at {
			return all[:i], all[i+1:]
		}
	}
	return all, nil
}

// The judge sees what it is for.
func TestCheckOfFrozenRunsFindsOneAcceptedWrite(t *testing.T) {
	t.Parallel()
	ledger := func(answers ...string) []string {
		for len(answers) < tries {
			answers = append(answers, "Checkpoint: checkpoint of job X: "+worker.ErrSuperseded.Error())
		}
		return answers
	}
	if err := judge(ledger()); err != nil {
		t.Errorf("all was refused, and yet: %v", err)
	}
	for what, l := range map[string][]string{
		"an empty ledger":     nil,
		"an accepted commit":  ledger("Commit of job.progress: accepted as 1-1"),
		"an accepted write":   ledger("Checkpoint: <nil>"),
		"another error":       ledger("Checkpoint: Redis is unreachable"),
		"nothing is answered": strings.Split(strings.Repeat("Log: "+unanswered+"\n", tries), "\n")[:tries],
	} {
		if judge(l) == nil {
			t.Errorf("not seen: %s", what)
		}
	}
}
