package engine_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/tidemark-dev/tidemark/engine"
)

// A shelf is a topic with ten records, whose stream and head a test can damage.
type shelf struct {
	t            *testing.T
	e            *engine.Rig
	stream, head string
	ids          []engine.Cursor
}

const shelved engine.Topic = "user:42"

func newShelf(t *testing.T, e *engine.Rig) *shelf {
	s := &shelf{t: t, e: e}
	s.write(10)
	s.stream, s.head = keyOf(t, e, "s:"+string(shelved)), keyOf(t, e, "m:"+string(shelved))
	return s
}

// write appends records, and notes their IDs.
func (s *shelf) write(n int) {
	s.t.Helper()
	for range n {
		if err := s.e.Notify(soon(s.t), shelved, "", []byte(`{}`)); err != nil {
			s.t.Fatal(err)
		}
		snapshot, err := s.e.Snapshot(soon(s.t), shelved, "")
		if err != nil {
			s.t.Fatal(err)
		}
		s.ids = append(s.ids, snapshot.Cursor)
	}
}

func (s *shelf) do(args ...any) {
	s.t.Helper()
	if err := s.e.Redis().Do(soon(s.t), args...).Err(); err != nil {
		s.t.Fatal(err)
	}
}

// rewind takes the last n records back, as a failover does that loses them, and
// waits until Redis's clock has moved on.
func (s *shelf) rewind(n int) {
	s.t.Helper()
	last := s.ids[len(s.ids)-1]
	keep, err := s.e.Redis().XRangeN(soon(s.t), s.stream, "-", "+", int64(len(s.ids)-n)).Result()
	if err != nil {
		s.t.Fatal(err)
	}
	s.do("DEL", s.stream, s.head)
	for _, m := range keep {
		if err := s.e.Redis().XAdd(soon(s.t), &redis.XAddArgs{Stream: s.stream, ID: m.ID, Values: ordered(m.Values)}).Err(); err != nil {
			s.t.Fatal(err)
		}
	}
	s.ids = s.ids[:len(s.ids)-n]
	s.tick(last)
}

// tick waits until Redis's clock has passed a record.
func (s *shelf) tick(c engine.Cursor) {
	for {
		now, err := s.e.Redis().Do(soon(s.t), "TIME").StringSlice()
		if err != nil {
			s.t.Fatal(err)
		}
		var seconds, micros uint64
		_, err1 := fmt.Sscan(now[0], &seconds)
		_, err2 := fmt.Sscan(now[1], &micros)
		if err := errors.Join(err1, err2); err != nil {
			s.t.Fatal(err)
		}
		if seconds*1000+micros/1000 > msOf(c) {
			return
		}
	}
}

func TestVerdictOnACursor(t *testing.T) {
	t.Parallel()
	at := func(i int) func(*shelf) engine.Cursor { return func(s *shelf) engine.Cursor { return s.ids[i] } }
	beginning := func(*shelf) engine.Cursor { return engine.Beginning }
	cases := []struct {
		name    string
		damage  func(*shelf)
		cursor  func(*shelf) engine.Cursor // of the ten IDs before the damage
		verdict engine.Verdict
		follow  int // records
	}{
		{"at the head", func(*shelf) {}, at(9), engine.Resumed, 0},
		{"one behind", func(*shelf) {}, at(8), engine.Resumed, 1},
		{"far behind", func(*shelf) {}, at(0), engine.Resumed, 9},
		{"at the beginning", func(*shelf) {}, beginning, engine.Resumed, 10},
		{"its own record is trimmed, the next is there", func(s *shelf) { s.do("XTRIM", s.stream, "MAXLEN", 5) }, at(4), engine.Resumed, 5},
		{"the next record is trimmed", func(s *shelf) { s.do("XTRIM", s.stream, "MAXLEN", 5) }, at(3), engine.Trimmed, 0},
		{"at the beginning of a trimmed stream", func(s *shelf) { s.do("XTRIM", s.stream, "MAXLEN", 5) }, beginning, engine.Trimmed, 0},
		{"at the head of an empty stream", func(s *shelf) { s.do("XTRIM", s.stream, "MAXLEN", 0) }, at(9), engine.Resumed, 0},
		{"behind an empty stream", func(s *shelf) { s.do("XTRIM", s.stream, "MAXLEN", 0) }, at(8), engine.Trimmed, 0},
		{"at the head, and the stream has expired", func(s *shelf) { s.do("DEL", s.stream) }, at(9), engine.Resumed, 0},
		{"behind, and the stream has expired", func(s *shelf) { s.do("DEL", s.stream) }, at(5), engine.Trimmed, 0},
		{"at what was the head when the stream expired", func(s *shelf) { s.do("DEL", s.stream); s.write(2) }, at(9), engine.Resumed, 2},
		{"the head is lost", func(s *shelf) { s.do("DEL", s.head) }, at(7), engine.Resumed, 2},
		{"all is lost", func(s *shelf) { s.do("DEL", s.head, s.stream) }, at(9), engine.Rewritten, 0},
		{"all is lost, and it holds nothing", func(s *shelf) { s.do("DEL", s.head, s.stream) }, beginning, engine.Resumed, 0},
		{"its record is taken back", func(s *shelf) { s.rewind(3) }, at(9), engine.Rewritten, 0},
		{"it holds what is left", func(s *shelf) { s.rewind(3) }, at(6), engine.Resumed, 0},
		{"another record has its number", func(s *shelf) { s.rewind(3); s.write(3) }, at(9), engine.Rewritten, 0},
		{"its number is passed by another history", func(s *shelf) { s.rewind(3); s.write(6) }, at(8), engine.Rewritten, 0},
		{"from before the histories part", func(s *shelf) { s.rewind(3); s.write(6) }, at(5), engine.Resumed, 7},
	}
	onEachRedis(t, func(t *testing.T, url string) {
		for _, c := range cases {
			t.Run(c.name, func(t *testing.T) {
				s := newShelf(t, open(t, url, nil))
				before := *s
				before.ids = append([]engine.Cursor{}, s.ids...)
				c.damage(s)
				page, err := s.e.Replay(soon(t), shelved, c.cursor(&before))
				if err != nil || page.Verdict != c.verdict || len(page.Entries) != c.follow {
					t.Errorf("%s with %d records, %v; want %s with %d", page.Verdict, len(page.Entries), err, c.verdict, c.follow)
				}
			})
		}
		t.Run("a future cursor", func(t *testing.T) {
			s := newShelf(t, open(t, url, nil))
			head := s.ids[9]
			for _, c := range []engine.Cursor{
				engine.Cursor(fmt.Sprintf("%d-%d", msOf(head), head.N()+5)), "9007199254740992-9007199254740992",
			} {
				if page, err := s.e.Replay(soon(t), shelved, c); err != nil || page.Verdict != engine.Rewritten {
					t.Errorf("%s: %+v, %v", c, page, err)
				}
			}
		})
		t.Run("of a topic that has no records", func(t *testing.T) {
			e := open(t, url, nil)
			if page, err := e.Replay(soon(t), "user:new", engine.Beginning); err != nil || page.Verdict != engine.Resumed || page.Head != engine.Beginning {
				t.Errorf("at the beginning: %+v, %v", page, err)
			}
			if page, err := e.Replay(soon(t), "user:new", "1795196553479-57"); err != nil || page.Verdict != engine.Rewritten {
				t.Errorf("from somewhere: %+v, %v", page, err)
			}
		})
	})
}

func TestAPageIsBoundedAndTheNextGoesOn(t *testing.T) {
	t.Parallel()
	onEachRedis(t, func(t *testing.T, url string) {
		for _, c := range []struct {
			name    string
			records int
			size    int
			pages   int
		}{{"by records", 600, 10, 2}, {"by bytes", 40, 15 << 10, 3}} {
			e := open(t, url, nil)
			body := []byte(`"` + strings.Repeat("x", c.size) + `"`)
			for range c.records {
				if err := e.Notify(soon(t), shelved, "", body); err != nil {
					t.Fatal(err)
				}
			}
			cursor, pages, seen := engine.Beginning, 0, 0
			for {
				page, err := e.Replay(soon(t), shelved, cursor)
				if err != nil || page.Verdict != engine.Resumed {
					t.Fatalf("%s: after %s: %s, %v", c.name, cursor, page.Verdict, err)
				}
				if len(page.Entries) == 0 {
					break
				}
				size := 0
				for _, entry := range page.Entries {
					if entry.Prev != cursor || (cursor != engine.Beginning && entry.ID.N() != cursor.N()+1) {
						t.Fatalf("%s: %s follows %s, and names %s", c.name, entry.ID, cursor, entry.Prev)
					}
					cursor, size = entry.ID, size+len(entry.JSON)
				}
				if len(page.Entries) > 500 || size > 256<<10 {
					t.Errorf("%s: a page of %d records and %d bytes", c.name, len(page.Entries), size)
				}
				pages, seen = pages+1, seen+len(page.Entries)
			}
			if seen != c.records || pages != c.pages {
				t.Errorf("%s: %d records in %d pages, want %d in %d", c.name, seen, pages, c.records, c.pages)
			}
		}
	})
}

func TestReadsRefuseWhatIsMalformed(t *testing.T) {
	onEachRedis(t, func(t *testing.T, url string) {
		e := open(t, url, nil)
		for what, c := range map[string]struct {
			do   func() error
			want error
		}{
			"replay, topic":     {func() error { _, err := e.Replay(soon(t), "User:42", "0-0"); return err }, engine.ErrInvalidTopic},
			"replay, cursor":    {func() error { _, err := e.Replay(soon(t), shelved, "$"); return err }, engine.ErrInvalidCursor},
			"replay, no cursor": {func() error { _, err := e.Replay(soon(t), shelved, ""); return err }, engine.ErrInvalidCursor},
			"snapshot, topic":   {func() error { _, err := e.Snapshot(soon(t), "", ""); return err }, engine.ErrInvalidTopic},
			"snapshot, cursor":  {func() error { _, err := e.Snapshot(soon(t), shelved, "1-"); return err }, engine.ErrInvalidCursor},
			"jobs, topic":       {func() error { _, err := e.Jobs(soon(t), "user:", engine.JobsQuery{}); return err }, engine.ErrInvalidTopic},
			"jobs, limit":       {func() error { _, err := e.Jobs(soon(t), shelved, engine.JobsQuery{Limit: 501}); return err }, engine.ErrInvalid},
			"jobs, after":       {func() error { _, err := e.Jobs(soon(t), shelved, engine.JobsQuery{After: "ended:x"}); return err }, engine.ErrInvalid},
			"job, form":         {func() error { _, err := e.Job(soon(t), "42"); return err }, engine.ErrInvalidJobID},
			"job, shard":        {func() error { _, err := e.Job(soon(t), "9901JD0000000000000000000000"); return err }, engine.ErrNotFound},
			"cancel, form":      {func() error { return e.Cancel(soon(t), "") }, engine.ErrInvalidJobID},
		} {
			if err := c.do(); !errors.Is(err, c.want) {
				t.Errorf("%s: error %v, want %v", what, err, c.want)
			}
		}
	})
}
