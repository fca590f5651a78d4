package api

import (
	"context"
	"crypto/rand"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/engine/runtime"
)

const (
	// downloadTick is the least time between two ticks of a download, and between two reports of a request.
	downloadTick = 200 * time.Millisecond
	// lookTimeout bounds a question to Redis that the bytes do not wait for.
	lookTimeout = 2 * time.Second
	// bufferedBytes is more than net/http keeps in its buffers of what was written: 2 and 4 KiB.
	bufferedBytes = 8 << 10
	// maxLate bounds the reports that wait for Redis.
	maxLate = 10_000
)

// A watch counts what one request writes of a watched download. Its goroutine reports to Redis how far
// that has come; the bytes never wait for it. A request for several ranges at once counts nothing: what
// it writes is no range of the file.
type watch struct {
	s        *Server
	download engine.Download
	request  string
	began    chan struct{} // closed when the answer begins
	from     int64         // where the answer begins in the file
	at       atomic.Int64  // before which all from there on was written; -1 while nothing counts
	reported sync.WaitGroup

	// Of the goroutine that reports.
	last int64     // what was reported last
	when time.Time // of that
	over bool      // the download has ended
	away bool      // Redis has not answered the last report
}

func newWatch(s *Server, d engine.Download) *watch {
	v := &watch{s: s, download: d, request: rand.Text(), began: make(chan struct{})}
	v.at.Store(-1)
	return v
}

// around starts to count what is written to w. stop ends the answer when the download is canceled. The
// caller calls end once all is written.
func (v *watch) around(w http.ResponseWriter, stop func()) (counted http.ResponseWriter, end func()) {
	ctx, cancel := context.WithCancel(context.Background())
	v.reported.Go(func() { v.run(ctx, stop) })
	return &countingWriter{w, v}, func() {
		cancel()
		v.reported.Wait()
		v.finish(w)
	}
}

func (v *watch) run(ctx context.Context, stop func()) {
	select {
	case <-ctx.Done():
		return
	case <-v.began:
	}
	ticker := time.NewTicker(downloadTick)
	defer ticker.Stop()
	for {
		at := max(v.from, v.at.Load()-bufferedBytes)
		// A reader that takes nothing for long is cut, so a request that lasts is one whose bytes move. The
		// script takes a request that says nothing for 2 s for one whose gateway is gone.
		if at != v.last || time.Since(v.when) >= min(v.s.opts.DownloadLease/looksALease, time.Second) {
			if d, err := v.report(ctx, runtime.Writing{Request: v.request, From: v.from, To: at}); err == nil && d.Reason == engine.ReasonCanceled {
				stop()
			}
		}
		if v.over {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// finish reports the end of what was written, once it has left the buffers.
func (v *watch) finish(w http.ResponseWriter) {
	at := v.at.Load()
	if at < 0 || v.over {
		return
	}
	last := runtime.Writing{Request: v.request, From: v.from, To: at, Final: true}
	if err := http.NewResponseController(w).Flush(); err != nil && !errors.Is(err, http.ErrNotSupported) {
		last.To, last.Unsure = max(v.from, at-bufferedBytes), bufferedBytes
	}
	if !v.away {
		_, _ = v.report(context.Background(), last) // sets away
	}
	if v.away {
		v.s.late.add(lateReport{v.download.ID, last})
	}
}

// report has Redis add what was written. What it has no record of yet is reported again.
func (v *watch) report(ctx context.Context, w runtime.Writing) (engine.Download, error) {
	within, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	d, pending, err := v.s.runtime.Downloaded(within, v.download.ID, w, v.s.opts.DownloadLease, downloadTick)
	v.away = err != nil && !errors.Is(err, engine.ErrNotFound) && ctx.Err() == nil
	switch {
	case v.away, ctx.Err() != nil: // finish reports the same, and more
	case err != nil: // Redis has forgotten it
		v.over = true
	default:
		v.over = d.State != engine.DownloadStateRunning
		if v.last, v.when = w.To, time.Now(); pending {
			v.last = -1
		}
	}
	return d, err
}

// begin says that what is written from now on is of the file, from a byte on.
func (v *watch) begin(from int64) {
	v.from, v.last = from, -1
	v.at.Store(from)
	close(v.began)
}

// A countingWriter counts the bytes of an answer that is a file, or one range of it.
type countingWriter struct {
	http.ResponseWriter
	v *watch
}

func (c *countingWriter) WriteHeader(status int) {
	switch status {
	case http.StatusOK:
		c.v.begin(0)
	case http.StatusPartialContent:
		if from, ok := firstOf(c.Header().Get("Content-Range")); ok {
			c.v.begin(from)
		}
	}
	c.ResponseWriter.WriteHeader(status)
}

func (c *countingWriter) Write(b []byte) (int, error) {
	n, err := c.ResponseWriter.Write(b)
	if at := c.v.at.Load(); at >= 0 {
		c.v.at.Store(at + int64(n))
	}
	return n, err
}

// Unwrap lets http.ResponseController reach the connection.
func (c *countingWriter) Unwrap() http.ResponseWriter { return c.ResponseWriter }

// firstOf reads the first byte of a Content-Range, "bytes <first>-<last>/<size>"; it is "" with several.
func firstOf(contentRange string) (int64, bool) {
	rest, ok := strings.CutPrefix(contentRange, "bytes ")
	first, _, _ := strings.Cut(rest, "-")
	n, err := strconv.ParseInt(first, 10, 64)
	return n, ok && err == nil
}

// lateReports are the last reports of requests that ended while Redis was away.
type lateReports struct {
	mu  sync.Mutex
	all []lateReport
}

type lateReport struct {
	id      string
	writing runtime.Writing
}

func (l *lateReports) add(r lateReport) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.all) < maxLate {
		l.all = append(l.all, r)
	}
}

// report reports what waits, and keeps it from the first that fails on.
func (l *lateReports) report(ctx context.Context, s *Server) error {
	for {
		l.mu.Lock()
		if len(l.all) == 0 {
			l.all = nil
			l.mu.Unlock()
			return nil
		}
		r := l.all[0]
		l.mu.Unlock()
		_, _, err := s.runtime.Downloaded(ctx, r.id, r.writing, s.opts.DownloadLease, downloadTick)
		if err != nil && !errors.Is(err, engine.ErrNotFound) {
			return err
		}
		l.mu.Lock()
		l.all = l.all[1:]
		l.mu.Unlock()
	}
}
