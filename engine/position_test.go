package engine_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/engine/stream"
)

// A seam is a Position between a stream that grows, a tail that lags behind it,
// and pages that take their time. Every step is something that may happen next.
type seam struct {
	p       stream.Position
	stream  []engine.Entry // what the topic holds, oldest first
	trimmed int            // how many of it are gone from the front
	tailed  int            // how many of it the tail has brought or passed by
	era     int            // counts losses of the newest records
	page    *stream.Page   // under way: read, and not yet taken
	limit   int            // entries of a page
	held    []engine.Cursor
}

func (s *seam) head() engine.Cursor {
	if len(s.stream) == 0 {
		return engine.Beginning
	}
	return s.stream[len(s.stream)-1].ID
}

func (s *seam) grow() {
	id := engine.Cursor(fmt.Sprintf("%d-%d", 1000+s.era, len(s.stream)+1))
	s.stream = append(s.stream, engine.Entry{ID: id, Prev: s.head()})
}

// tail brings the next record.
func (s *seam) tail() error {
	e := s.stream[s.tailed]
	s.tailed++
	if !s.p.Tailed(e) {
		return nil
	}
	return s.hold(e)
}

// skip is a tail that starts anew: it passes by what was written meanwhile.
func (s *seam) skip() {
	s.tailed = len(s.stream)
	s.p.Doubt()
}

// read begins a page, as Redis would answer at this moment.
func (s *seam) read() {
	page := &stream.Page{Verdict: engine.Resumed, Head: s.head()}
	at := slices.IndexFunc(s.stream, func(e engine.Entry) bool { return e.ID == s.p.Cursor() })
	switch {
	case s.p.Cursor() != engine.Beginning && at < 0:
		page.Verdict = engine.Rewritten
	case at+1 < s.trimmed && s.p.Cursor() != s.head():
		page.Verdict = engine.Trimmed
	default:
		page.Entries = slices.Clone(s.stream[at+1 : min(at+1+s.limit, len(s.stream))])
	}
	s.page = page
}

// take is the page's arrival.
func (s *seam) take() error {
	page := s.page
	s.page = nil
	if page.Verdict != engine.Resumed {
		s.p.Reset(s.head())
		s.held = append(s.held, s.head())
		return nil
	}
	s.p.Advance(*page)
	for _, e := range page.Entries {
		if err := s.hold(e); err != nil {
			return err
		}
	}
	return nil
}

// hold is what a reader is given, which must continue what it has.
func (s *seam) hold(e engine.Entry) error {
	last := engine.Beginning
	if len(s.held) > 0 {
		last = s.held[len(s.held)-1]
	}
	if e.Prev != last {
		return fmt.Errorf("%s was given, which follows %s, after %v", e.ID, e.Prev, s.held)
	}
	s.held = append(s.held, e.ID)
	return nil
}

// idle is the promise of a live reader: when the tail has brought all there is,
// nothing is missing, and no reader would come to look for it.
func (s *seam) idle() error {
	if s.p.Live() && s.page == nil && s.tailed == len(s.stream) && s.p.Cursor() != s.head() {
		return fmt.Errorf("the reader is live at %s, the tail has nothing more to bring, and the head is %s", s.p.Cursor(), s.head())
	}
	return nil
}

// settle lets everything arrive: the reader must come to hold all.
func (s *seam) settle() error {
	for range 4 * (len(s.stream) + 4) {
		var err error
		switch {
		case s.page != nil:
			err = s.take()
		case s.tailed < len(s.stream):
			err = s.tail()
		case !s.p.Live():
			s.read()
		case s.p.Cursor() != s.head():
			return s.idle()
		default:
			return nil
		}
		if err != nil {
			return err
		}
	}
	return fmt.Errorf("the reader does not become live: it is at %s, the head is %s", s.p.Cursor(), s.head())
}

func (s *seam) copy() *seam {
	c := *s
	c.stream, c.held = slices.Clone(s.stream), slices.Clone(s.held)
	return &c
}

// Every order of appends, tailed records, interruptions of the tail and pages,
// over a few records, at each page size: 1 shows the middle of a catch-up.
func TestPositionKeepsItsSeamInEveryOrder(t *testing.T) {
	records := scale(6, 12)
	type step struct {
		name string
		can  func(*seam) bool
		do   func(*seam) error
	}
	plain := func(do func(*seam)) func(*seam) error {
		return func(s *seam) error { do(s); return nil }
	}
	steps := []step{
		{"append", func(s *seam) bool { return len(s.stream) < records }, plain((*seam).grow)},
		{"tail", func(s *seam) bool { return s.tailed < len(s.stream) }, (*seam).tail},
		{"page read", func(s *seam) bool { return s.page == nil && !s.p.Live() }, plain((*seam).read)},
		{"page taken", func(s *seam) bool { return s.page != nil }, (*seam).take},
		{"doubt", func(*seam) bool { return true }, plain((*seam).skip)},
	}
	for limit := 1; limit <= 3; limit++ {
		type state struct {
			seam *seam
			path []string
		}
		queue := []state{{seam: &seam{p: stream.At(engine.Beginning), limit: limit}}}
		seen := map[string]bool{}
		// Breadth first: what fails is the shortest way to it.
		for len(queue) > 0 {
			at := queue[0]
			queue = queue[1:]
			if err := errors.Join(at.seam.idle(), at.seam.copy().settle()); err != nil {
				t.Fatalf("page size %d, after %v: %v", limit, at.path, err)
			}
			for _, st := range steps {
				if !st.can(at.seam) {
					continue
				}
				next := state{at.seam.copy(), append(slices.Clone(at.path), st.name)}
				if err := st.do(next.seam); err != nil {
					t.Fatalf("page size %d, after %v: %v", limit, next.path, err)
				}
				// What is held is a function of the cursor, as nothing is trimmed.
				key := fmt.Sprintf("%+v %d %d %+v", next.seam.p, len(next.seam.stream), next.seam.tailed, next.seam.page)
				if !seen[key] {
					seen[key] = true
					queue = append(queue, next)
				}
			}
		}
		if len(seen) < 100*records {
			t.Errorf("page size %d: only %d states were reached", limit, len(seen))
		}
		t.Logf("page size %d: %d states", limit, len(seen))
	}
}

// The same with longer histories, at random, and with streams that are trimmed or
// lose their newest records.
func TestPositionKeepsItsSeamAtRandom(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := &seam{p: stream.At(engine.Beginning), limit: rapid.IntRange(1, 5).Draw(t, "limit")}
		must := func(err error) {
			if err != nil {
				t.Fatal(err)
			}
		}
		t.Repeat(map[string]func(*rapid.T){
			"append": func(*rapid.T) { s.grow() },
			"tail": func(*rapid.T) {
				if s.tailed < len(s.stream) {
					must(s.tail())
				}
			},
			"page read": func(*rapid.T) {
				if s.page == nil && !s.p.Live() {
					s.read()
				}
			},
			"page taken": func(*rapid.T) {
				if s.page != nil {
					must(s.take())
				}
			},
			"doubt":   func(*rapid.T) { s.skip() },
			"compare": func(*rapid.T) { s.p.Compare(s.head()) },
			"trim": func(t *rapid.T) {
				if len(s.stream) > 0 {
					s.trimmed = max(s.trimmed, rapid.IntRange(0, len(s.stream)-1).Draw(t, "first"))
				}
			},
			"lose": func(t *rapid.T) {
				// Redis is another one now: connections are gone, pages with them.
				keep := rapid.IntRange(s.trimmed, len(s.stream)).Draw(t, "keep")
				if keep == 0 {
					return
				}
				s.stream, s.page = s.stream[:keep], nil
				s.era++
				s.skip()
			},
			"": func(*rapid.T) {
				must(s.idle())
				must(s.copy().settle())
			},
		})
	})
}

// A tail that loses a record without knowing is found out by the topic's head: what
// the head was one comparison ago must have been tailed by now.
func TestPositionIsFoundOutByItsHead(t *testing.T) {
	s := &seam{p: stream.At(engine.Beginning), limit: 10}
	s.grow()
	if err := s.settle(); err != nil {
		t.Fatal(err)
	}
	s.p.Compare(s.head())
	s.grow() // and the tail never brings it
	if s.p.Compare(s.head()); !s.p.Live() {
		t.Fatal("the reader fell behind at a record that the tail may still bring")
	}
	if s.p.Compare(s.head()); s.p.Live() {
		t.Fatal("the reader is live without a record that was the head two comparisons ago")
	}
	s.tailed = len(s.stream)
	if err := s.settle(); err != nil {
		t.Fatal(err)
	}
}
