package feed

import (
	"bytes"
	"testing"
	"time"

	"github.com/tidemark-dev/tidemark/gateway/internal/transport"
)

// A poll that has begun to give a snapshot gives all of it: half of one moves no cursor. Only then does
// it go by what is new, and by its bytes.
func TestPollEnds(t *testing.T) {
	t.Parallel()
	var body bytes.Buffer
	p := newPoll(&body, time.Hour, time.Hour)
	give := func(text string) {
		t.Helper()
		if err := p.frame(transport.Frame{Sid: "user:42", Text: []byte(text)}); err != nil {
			t.Fatal(err)
		}
	}
	ends := func(when string, wantDone bool, want time.Time) {
		t.Helper()
		if done, at := p.over(); done != wantDone || !at.Equal(want) {
			t.Errorf("%s: done %v, ends at %s; want %v, %s", when, done, at, wantDone, want)
		}
	}
	ends("at first", false, p.last)
	p.last = p.last.Add(-2 * time.Hour)
	give(`{"type":"subscribed"}`)
	if !p.last.After(time.Now()) {
		t.Error("a frame leaves the poll no more time")
	}
	give(`{"type":"snapshot","part":1,"final":false}`)
	ends("amid a snapshot", false, p.last)
	give(`{"type":"snapshot","part":2,"final":true}`)
	give(`{"type":"live"}`)
	ends("with a snapshot", false, p.news.Add(gathering))
	p.news = time.Time{}
	give(`{"type":"records","records":[]}`)
	ends("with a cursor alone", false, p.until)
	give(`{"type":"records","records":[{}]}`)
	ends("with a record", false, p.news.Add(gathering))
	give(`{"type":"subscribed","reason":"rewritten"}`)
	ends("with another snapshot to come", false, p.last)
	give(`{"type":"live"}`)
	p.bytes = fullPoll
	give(`{"type":"records","records":[{}]}`)
	if done, _ := p.over(); !done {
		t.Error("full of records it goes on")
	}
	if err := p.end(0); err != nil {
		t.Fatal(err)
	}
	if want := `[{"type":"subscribed"},` + "\n"; !bytes.HasPrefix(body.Bytes(), []byte(want)) || !bytes.HasSuffix(body.Bytes(), []byte("}]\n")) {
		t.Errorf("the body is %s", body.Bytes())
	}
}
