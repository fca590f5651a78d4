package gateway_test

import (
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/gateway"
	"github.com/tidemark-dev/tidemark/internal/redistest"
)

// arrived waits until a file has so many bytes.
func (d *depot) arrived(t testing.TB, job engine.JobID, want int64) {
	t.Helper()
	eventually(t, "the bytes to arrive", func() bool {
		info, err := os.Stat(d.data(job))
		return err == nil && info.Size() == want
	})
}

// While Redis is away the bytes go on arriving, and the bar follows when it is back; a
// finish is made up for.
func TestUploadWithoutRedis(t *testing.T) {
	server := redistest.Server(t)
	proxy := redistest.NewProxy(t, server.Addr())
	e := open(t, proxy.URL(), func(o *engine.Options) { o.CommitTimeout = time.Second })
	watcher := openSame(t, server.URL(), e)
	d := newDepot(t)
	s := d.serve(t, e, func(o *gateway.Options) { o.RequestTimeout = 2 * time.Second })
	file := csv(100 << 10)
	half := len(file) / 2
	job := s.announce(t, len(file))
	st := s.sending(t, job, 0, half)
	st.send(file[:1000])
	eventually(t, "the bytes to be shown", func() bool { return view(t, watcher, job).Progress.Done == 1000 })

	proxy.Refuse()
	proxy.CutAll()
	st.send(file[1000:5000])
	d.arrived(t, job, 5000)
	if j := view(t, watcher, job); j.Progress.Done != 1000 {
		t.Errorf("the bar is at %+v although Redis is away", j.Progress)
	}
	proxy.Accept()
	eventually(t, "the bar to follow", func() bool { return view(t, watcher, job).Progress.Done == 5000 })
	st.send(file[5000:half])
	if said := st.answer(); !strings.HasPrefix(said, "HTTP/1.1 204") {
		t.Fatalf("patch: %q", said)
	}

	proxy.Refuse()
	proxy.CutAll()
	// A PATCH that is over before Redis is back: no other brings its report along.
	s.patch(t, job, half, file[half:half+1000])
	d.arrived(t, job, int64(half+1000))
	proxy.Accept()
	eventually(t, "the bar to follow a PATCH that is over", func() bool { return view(t, watcher, job).Progress.Done == int64(half+1000) })

	proxy.Refuse()
	proxy.CutAll()
	// A PATCH that begins without Redis, and is the last.
	half += 1000
	a := s.patch(t, job, half, file[half:])
	a.is(t, "finish without Redis", http.StatusServiceUnavailable, "upload_not_queued")
	if a.header.Get("Retry-After") == "" {
		t.Errorf("finish: %+v", a)
	}
	if n := s.offset(t, job); n != len(file) {
		t.Errorf("the offset is %d", n)
	}
	s.tus(t, http.MethodDelete, "/v1/uploads/"+string(job), nil).is(t, "delete without Redis", http.StatusServiceUnavailable, "unavailable")
	if j := view(t, watcher, job); j.State != engine.Receiving || !there(d.data(job)) {
		t.Errorf("without Redis the job became %+v", j)
	}
	proxy.Accept()
	inState(t, watcher, job, engine.Queued)
	if all := historyOf(t, watcher, job); countOf(all, engine.JobQueued) != 1 {
		t.Errorf("history %+v", all)
	}
}

// openSame gives an engine in the namespace of another.
func openSame(t testing.TB, url string, _ *engine.Engine) *engine.Engine {
	t.Helper()
	namespace := lastNamespace()
	return open(t, url, func(o *engine.Options) { o.Namespace = namespace })
}

// Stop does not wait for an upload: what has arrived stays, and the next gateway goes
// on with it.
func TestDrainEndsRunningPatches(t *testing.T) {
	e, d := real(t), newDepot(t)
	first := d.serve(t, e, func(o *gateway.Options) { o.DrainTimeout = 10 * time.Minute })
	file := csv(100 << 10)
	job := first.announce(t, len(file))
	st := first.sending(t, job, 0, len(file))
	st.send(file[:4000])
	d.arrived(t, job, 4000)
	if err := first.Stop(soon(t)); err != nil { // long before DrainTimeout
		t.Fatalf("stop: %v", err)
	}
	if said := st.answer(); !strings.HasPrefix(said, "HTTP/1.1 503") || !strings.Contains(said, `"code":"draining"`) {
		t.Errorf("the patch is answered %q", said)
	}
	next := d.serve(t, e, nil)
	if n := next.offset(t, job); n != 4000 {
		t.Fatalf("the offset is %d", n)
	}
	if a := next.patch(t, job, 4000, file[4000:]); a.status != http.StatusNoContent {
		t.Errorf("patch: %+v", a)
	}
	if j := view(t, e, job); j.State != engine.Queued {
		t.Errorf("the job is %+v", j)
	}
	historyOf(t, e, job)
}

// A client that comes back takes its upload over from the request that it has given up,
// in the same gateway and in another one of the folder.
func TestTakingAnUploadOver(t *testing.T) {
	e, d := real(t), newDepot(t)
	one, other := d.serve(t, e, nil), d.serve(t, e, nil)
	for name, next := range map[string]*server{"the same gateway": one, "another gateway": other} {
		t.Run(name, func(t *testing.T) {
			file := csv(10 << 10)
			job := one.announce(t, len(file))
			st := one.sending(t, job, 0, len(file))
			st.send(file[:2000])
			d.arrived(t, job, 2000)
			if n := next.offset(t, job); n != 2000 {
				t.Fatalf("the offset is %d", n)
			}
			if said := st.answer(); !strings.HasPrefix(said, "HTTP/1.1 409") || !strings.Contains(said, "upload_interrupted") {
				t.Errorf("the request that was given up is answered %q", said)
			}
			if a := next.patch(t, job, 2000, file[2000:]); a.status != http.StatusNoContent {
				t.Errorf("patch: %+v", a)
			}
			inState(t, e, job, engine.Queued)
			historyOf(t, e, job)
		})
	}
}

// A file that is shorter than it was, as after a power loss, gives a lower offset; the
// bar stays.
func TestShorterFileHoldsTheBar(t *testing.T) {
	e, d := real(t), newDepot(t)
	s := d.serve(t, e, nil)
	file := csv(10 << 10)
	half := len(file) / 2
	job := s.announce(t, len(file))
	s.patch(t, job, 0, file[:half])
	eventually(t, "the bar to be at half", func() bool { return view(t, e, job).Percent == float64(500*half/len(file))/10 })
	if err := os.Truncate(d.data(job), 100); err != nil {
		t.Fatal(err)
	}
	if n := s.offset(t, job); n != 100 {
		t.Fatalf("the offset is %d", n)
	}
	s.patch(t, job, 100, file[100:200])
	eventually(t, "the count to tell the truth", func() bool { return view(t, e, job).Progress.Done == 200 })
	if j := view(t, e, job); j.Percent != float64(500*half/len(file))/10 {
		t.Errorf("the bar fell to %v%%", j.Percent)
	}
	s.patch(t, job, 200, file[200:])
	inState(t, e, job, engine.Queued)
	historyOf(t, e, job)
}

// A client that goes silent is not waited for.
func TestSilentPatchEnds(t *testing.T) {
	e, d := real(t), newDepot(t)
	s := d.serve(t, e, func(o *gateway.Options) { o.StallTimeout = 300 * time.Millisecond })
	job := s.announce(t, 10000)
	st := s.sending(t, job, 0, 10000)
	st.send(make([]byte, 100))
	if said := st.answer(); !strings.HasPrefix(said, "HTTP/1.1 503") || !strings.Contains(said, `"code":"timeout"`) {
		t.Errorf("answer %q", said)
	}
	if n := s.offset(t, job); n != 100 {
		t.Errorf("the offset is %d", n)
	}
}

// Many small requests report no more than a long one: at most every 200 ms. How often they
// do is TestLateReportsKeepTheirPace's.
func TestSmallPatchesReportSeldom(t *testing.T) {
	e, d := real(t), newDepot(t)
	s := d.serve(t, e, nil)
	part := make([]byte, 100)
	job := s.announce(t, 1<<20)
	began, sent := time.Now(), 0
	reported := func() int { return countOf(historyOf(t, e, job), engine.JobProgress) }
	for sent < 100*len(part) || reported() < 2 {
		if a := s.patch(t, job, sent, part); a.status != http.StatusNoContent {
			t.Fatalf("patch: %+v", a)
		}
		sent += len(part)
	}
	eventually(t, "the bar to show all", func() bool { return view(t, e, job).Progress.Done == int64(sent) })
	n := reported()
	if most := int(time.Since(began)/(200*time.Millisecond)) + 1; n > most {
		t.Errorf("%d ticks for %d requests in %s, want at most %d", n, sent/len(part), time.Since(began), most)
	}
}
