package e2e

import (
	"math/rand/v2"
	"path"
	"path/filepath"
	"slices"
	"testing"
)

// cutPoints are n places among so many bytes, in order and apart.
func cutPoints(n int, bytes int64) []int64 {
	points := make([]int64, n)
	share := bytes / int64(n)
	for i := range points {
		points[i] = int64(i)*share + share/8 + rand.Int64N(share/2)
	}
	return points
}

// tusSizes are the files that are uploaded at the same time.
func tusSizes() (large, small int, cuts int) {
	if soak {
		return 200 << 20, 40 << 20, 200
	}
	return 20 << 20, 4 << 20, 20
}

// testTus has upload send two files, through many cuts once both are announced, and
// checks what came in. An answer to an announcement that is lost is another matter: tus
// can but announce again.
func testTus(t *testing.T, upload func(w *wire, take func(line), files []string) *process) {
	large, small, cuts := tusSizes()
	var files []string
	digests := map[string]string{}
	var total int64
	for name, size := range map[string]int{"large.csv": large, "small.csv": small} {
		file, _ := writeTable(t, name, size)
		files = append(files, file)
		digests[name] = digest(t, file)
		total += sizeOf(t, file)
	}
	s := newSite(t)
	watch := s.watch()
	w := newWire(t, s.addr)
	w.throttle(256 << 10)
	announced := 0
	p := upload(w, func(l line) {
		if l.text("event") != "announced" {
			return
		}
		if announced++; announced == len(files) {
			sent, _ := w.carried()
			w.cutAfter(cutPoints(cuts, total-sent))
			w.throttle(0)
		}
	}, files)
	if _, made := w.carried(); made != cuts {
		t.Errorf("the connection was cut %d times, want %d", made, cuts)
	}
	retries := 0
	jobs := map[string]string{} // their file's name
	for _, l := range p.all() {
		switch l.text("event") {
		case "retry":
			retries++
		case "refused":
			t.Logf("%v %s", l.number("status"), l.text("text"))
		case "uploaded":
			jobs[path.Base(l.text("location"))] = l.text("filename")
		}
	}
	if retries < cuts/2 {
		t.Errorf("%d retries for %d cuts: were they cuts?", retries, cuts)
	}
	if len(jobs) != len(files) {
		t.Fatalf("%d uploads ended, want %d", len(jobs), len(files))
	}
	for job, name := range jobs {
		stored := filepath.Join(s.data, "blobs", "incoming", topic, job)
		if got := digest(t, stored); got != digests[name] {
			t.Errorf("%s arrived with SHA-256 %s, sent was %s", name, got, digests[name])
		}
		end, _ := watch.await("the end of "+job, 0, func(l line) bool {
			j := l.within("job")
			return j.text("id") == job && j.text("ended_at") != ""
		})
		if end.text("type") != "job.succeeded" {
			t.Errorf("%s: %v", name, end)
		}
	}
	// No cut has made a second job of a file, or one that waits for the rest for ever.
	seen := map[string]bool{}
	for _, l := range watch.all() {
		if id := l.within("job").text("id"); id != "" {
			seen[id] = true
		}
	}
	if len(seen) != len(jobs) {
		t.Errorf("there are %d jobs, want %d", len(seen), len(jobs))
	}
	s.stop()
}

func TestTusInNodeThroughCuts(t *testing.T) {
	t.Parallel()
	testTus(t, func(w *wire, take func(line), files []string) *process {
		p := script(t, "tus-js-client", take, "node/tus.mjs", slices.Concat([]string{w.url(), topic}, files)...)
		p.await("the end of the uploads", 0, func(l line) bool { return l.text("event") == "done" })
		return p
	})
}

func TestTusInChromiumThroughCuts(t *testing.T) {
	t.Parallel()
	testTus(t, func(w *wire, take func(line), files []string) *process {
		b := newBrowser(t, take)
		b.open(w.url() + "/")
		b.do("tus", line{"files": files, "topic": topic})
		return b.process
	})
}
