package gateway_test

import (
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/engine/runtime"
	"github.com/tidemark-dev/tidemark/gateway"
	"github.com/tidemark-dev/tidemark/internal/redistest"
)

// is wants an answer to be a refusal.
func (a answer) is(t testing.TB, what string, status int, code string) {
	t.Helper()
	if a.status != status || (a.body != "" && !strings.Contains(a.body, `"code":"`+code+`"`)) {
		t.Errorf("%s: %+v, want %d %s", what, a, status, code)
	}
	if a.body != "" && a.header.Get("Content-Type") != "application/problem+json" {
		t.Errorf("%s: %+v, want a problem", what, a)
	}
}

func TestDeleteCancelsAnUploadThatIsNotQueued(t *testing.T) {
	e, d := real(t), newDepot(t)
	s := d.serve(t, e, nil)
	file := csv(10 << 10)
	job := s.announce(t, len(file))
	s.patch(t, job, 0, file[:100])
	path := "/v1/uploads/" + string(job)
	if a := s.tus(t, http.MethodDelete, path, nil); a.status != http.StatusNoContent {
		t.Fatalf("delete: %+v", a)
	}
	if j := view(t, e, job); j.State != engine.Canceled || there(d.data(job)) {
		t.Errorf("deleted: %+v, bytes there: %v", j, there(d.data(job)))
	}
	s.tus(t, http.MethodHead, path, nil).is(t, "head of a deleted one", http.StatusGone, "upload_gone")
	s.patch(t, job, 100, file[100:]).is(t, "patch of a deleted one", http.StatusGone, "upload_gone")
	s.tus(t, http.MethodDelete, path, nil).is(t, "delete of a deleted one", http.StatusGone, "upload_gone")

	job = s.announce(t, len(file))
	s.patch(t, job, 0, file)
	s.tus(t, http.MethodDelete, "/v1/uploads/"+string(job), nil).is(t, "delete of a queued one", http.StatusConflict, "upload_complete")
	if j := view(t, e, job); j.State != engine.Queued || !there(d.data(job)) {
		t.Errorf("a refused delete left %+v", j)
	}
	if err := e.Cancel(soon(t), job); err != nil {
		t.Fatal(err)
	}
	inState(t, e, job, engine.Canceled)
	s.tus(t, http.MethodDelete, "/v1/uploads/"+string(job), nil).is(t, "delete of one whose job has ended since", http.StatusConflict, "upload_complete")
}

// A cancellation reaches a PATCH that is running: by its next tick while bytes come, by
// the sweep while none do.
func TestCancelStopsARunningPatch(t *testing.T) {
	e, d := real(t), newDepot(t)
	s := d.serve(t, e, nil)
	for name, flowing := range map[string]bool{"while bytes come": true, "while none do": false} {
		t.Run(name, func(t *testing.T) {
			job := s.announce(t, 1<<30)
			st := s.sending(t, job, 0, 1<<30)
			st.send(make([]byte, 1000))
			eventually(t, "the bytes to be shown", func() bool { return view(t, e, job).Progress.Done == 1000 })
			if err := e.Cancel(soon(t), job); err != nil {
				t.Fatal(err)
			}
			if j := view(t, e, job); j.State != engine.Canceled {
				t.Fatalf("canceled: %+v", j)
			}
			done := make(chan string, 1)
			go func() { done <- st.answer() }()
			said := ""
			eventually(t, "the answer", func() bool {
				if flowing {
					_, _ = st.conn.Write(make([]byte, 10)) // the gateway may have closed
				}
				select {
				case said = <-done:
					return true
				default:
					return false
				}
			})
			if !strings.HasPrefix(said, "HTTP/1.1 410 ") || !strings.Contains(said, "upload_gone") {
				t.Errorf("the running patch is answered %q", said)
			}
			s.tus(t, http.MethodHead, "/v1/uploads/"+string(job), nil).is(t, "head", http.StatusGone, "upload_gone")
			eventually(t, "the bytes to go", func() bool { return !there(d.data(job)) && !there(d.ticket("open", job)) })
			if got := countOf(historyOf(t, e, job), engine.JobCanceled); got != 1 {
				t.Errorf("%d ends", got)
			}
		})
	}
}

// A gateway that ends between the last byte and the queue leaves a complete file. The
// next ones queue it, once.
func TestSweepQueuesWhatIsComplete(t *testing.T) {
	e, d := real(t), newDepot(t)
	never := func(o *gateway.Options) { o.SweepInterval = time.Hour }
	first := d.serve(t, e, never)
	file := csv(50 << 10)
	var jobs []engine.JobID
	for range 20 {
		jobs = append(jobs, first.announce(t, len(file)))
	}
	if err := first.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, job := range jobs {
		if err := os.WriteFile(d.data(job), file, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	two, three := d.serve(t, e, nil), d.serve(t, e, nil)
	for _, job := range jobs {
		inState(t, e, job, engine.Queued)
		eventually(t, "the upload to be settled", func() bool { return there(d.ticket("settled", job)) })
		all := historyOf(t, e, job)
		if countOf(all, engine.JobQueued) != 1 || len(all) != 2 || all[1].Job.Percent != 50 {
			t.Errorf("history %+v", all)
		}
		if a, b := two.offset(t, job), three.offset(t, job); a != len(file) || b != len(file) {
			t.Errorf("the offsets are %d and %d", a, b)
		}
	}
	tasks, err := e.Redis().LLen(soon(t), "asynq:{"+e.QueueName(engine.DefaultQueue)+"}:pending").Result()
	if err != nil || tasks != int64(len(jobs)) {
		t.Errorf("%d tasks, %v; want one a job", tasks, err)
	}
}

func TestIdleUploadExpires(t *testing.T) {
	e, d := real(t), newDepot(t)
	s := d.serve(t, e, func(o *gateway.Options) { o.UploadIdle = time.Second })
	job := s.announce(t, 1000)
	s.patch(t, job, 0, []byte("some"))
	inState(t, e, job, engine.Failed)
	if j := view(t, e, job); j.Error == nil || j.Error.Code != "upload_expired" || !strings.Contains(j.Error.Message, "1s") {
		t.Errorf("expired: %+v", j.Error)
	}
	eventually(t, "the bytes to go", func() bool { return !there(d.data(job)) && there(d.ticket("settled", job)) })
	s.patch(t, job, 4, []byte("more")).is(t, "patch of an expired one", http.StatusGone, "upload_gone")
	// It does not count any more.
	if n := s.OpenUploads("alice"); n != 0 {
		t.Errorf("%d open uploads", n)
	}
}

// What no job knows of any more is kept for longer than its job would be, and what a job
// still knows of is not looked at again for as long.
func TestSweepForgetsSlowly(t *testing.T) {
	e, d := real(t), newDepot(t)
	s := d.serve(t, e, func(o *gateway.Options) { o.SweepInterval = time.Hour })
	file := csv(1000)
	finished, lives, begun := s.announce(t, len(file)), s.announce(t, len(file)), s.announce(t, len(file))
	s.patch(t, finished, 0, file)
	s.patch(t, lives, 0, file)
	s.patch(t, begun, 0, file[:10])
	for _, job := range []engine.JobID{finished, begun} {
		if err := e.Redis().Del(soon(t), lastNamespace()+":{"+string(job[:2])+"}:j:"+string(job)).Err(); err != nil {
			t.Fatal(err)
		}
	}
	long := runtime.Of(e).Retention() + 24*time.Hour
	at := func(after time.Duration, want bool) {
		t.Helper()
		s.SweepAt(soon(t), time.Now().Add(after))
		ticket := there(d.ticket("settled", finished)) || there(d.ticket("orphaned", finished))
		if !there(d.data(lives)) || there(d.data(finished)) != want || there(d.data(begun)) != want || ticket != want || there(d.ticket("open", begun)) != want {
			t.Errorf("after %s: %v, %v, %v", after, there(d.data(lives)), there(d.data(finished)), there(d.data(begun)))
		}
	}
	at(runtime.Of(e).Retention()-time.Minute, true)
	if there(d.ticket("orphaned", finished)) {
		t.Error("an upload is looked at before its job could be gone")
	}
	at(runtime.Of(e).Retention()+time.Minute, true)
	at(long-time.Minute, true)
	at(long+2*time.Minute, false)
	if info, err := os.Stat(d.ticket("settled", lives)); err != nil || time.Until(info.ModTime()) < runtime.Of(e).Retention() {
		t.Errorf("an upload of a job that lives is looked at again soon: %v, %v", info.ModTime(), err)
	}
}

// A process that is killed while it writes a ticket leaves half of one.
func TestSweepRemovesTornTickets(t *testing.T) {
	e, d := real(t), newDepot(t)
	s := d.serve(t, e, func(o *gateway.Options) { o.SweepInterval = time.Hour })
	job := s.announce(t, 1000)
	torn := d.ticket("open", job) + ".tmp"
	if err := os.WriteFile(torn, []byte(`{"job":`), 0o600); err != nil {
		t.Fatal(err)
	}
	s.SweepAt(soon(t), time.Now().Add(59*time.Minute))
	if !there(torn) {
		t.Error("a ticket that may still be written is removed")
	}
	s.SweepAt(soon(t), time.Now().Add(61*time.Minute))
	if there(torn) || !there(d.ticket("open", job)) {
		t.Errorf("torn ticket there: %v, whole one: %v", there(torn), there(d.ticket("open", job)))
	}
}

// An announcement whose answer from Redis was lost leaves no job that receives for ever.
func TestAnnouncementThatFailedIsEnded(t *testing.T) {
	server := redistest.Server(t)
	proxy := redistest.NewProxy(t, server.Addr())
	d := newDepot(t)
	quick := func(o *engine.Options) { o.CommitTimeout = time.Second }
	e := open(t, proxy.URL(), quick)
	// Nobody else asks Redis meanwhile, so the announcement has a connection at hand.
	s := d.serve(t, e, func(o *gateway.Options) { o.SweepInterval = time.Hour })
	s.offset(t, s.announce(t, 100))
	proxy.StallReplies()
	a := s.tus(t, http.MethodPost, "/v1/uploads", nil, "Upload-Length", "100", "Upload-Metadata", metadata("topic", string(topic), "type", "analysis"))
	a.is(t, "announce", http.StatusServiceUnavailable, "unavailable")
	if n := s.OpenUploads("alice"); n != 1 {
		t.Errorf("%d open uploads, want the first alone", n)
	}
	proxy.Unstall()
	eventually(t, "the job to end", func() bool {
		s.SweepAt(soon(t), time.Now())
		page, err := e.Jobs(soon(t), topic, engine.JobsQuery{})
		if err != nil || len(page.Jobs) != 2 {
			return false
		}
		j, err := page.Jobs[1].Job()
		return err == nil && j.State == engine.Failed && j.Error.Code == "upload_void" && !there(d.ticket("void", j.ID))
	})
}
