package upload

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tidemark-dev/tidemark/engine"
)

// A request every 3 ms, of each of two uploads: each is reported once a tick, and nothing when
// nothing has come.
func TestLateReportsKeepTheirPace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLateReports()
		ctx, cancel := context.WithCancel(t.Context())
		began := time.Now()
		var got []string
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			for ctx.Err() == nil {
				if all := l.next(ctx); len(all) > 0 {
					got = append(got, fmt.Sprint(len(all), " after ", time.Since(began)))
				}
			}
		}()
		ups := []*upload{{Job: engine.JobID("a")}, {Job: engine.JobID("b")}}
		for range 200 {
			<-time.After(3 * time.Millisecond)
			l.add(ups[0])
			l.add(ups[1])
		}
		<-time.After(time.Second)
		cancel()
		<-ended
		want := "[2 after 203ms 2 after 403ms 2 after 603ms]"
		if fmt.Sprint(got) != want {
			t.Errorf("given %s, want %s", fmt.Sprint(got), want)
		}
	})
}
