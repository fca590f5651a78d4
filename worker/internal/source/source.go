package source

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/tidemark-dev/tidemark/engine/wire"
	"github.com/tidemark-dev/tidemark/internal/option"
	"github.com/tidemark-dev/tidemark/worker/internal/rows"
	"github.com/tidemark-dev/tidemark/worker/internal/source/dialect"
	"github.com/tidemark-dev/tidemark/worker/internal/source/postgres"
	"github.com/tidemark-dev/tidemark/worker/internal/source/sqlite"
	"github.com/tidemark-dev/tidemark/worker/sqlsource"
)

var (
	// ErrUnknown is wrapped by errors that say that there is no source of a name.
	ErrUnknown = errors.New("there is no such source")
	// ErrParams is wrapped by errors about the values of parameters.
	ErrParams = errors.New("parameters that the source does not take")
	// ErrChanged is wrapped by errors that say that a position does not lead into what the source is
	// now: its query, its columns or the parameters are others. Reading begins anew without it.
	ErrChanged = errors.New("the source is no longer the one that the position is of")
)

// Temporary reports whether an error of a source may be gone later: the source can be opened again at
// its position then.
func Temporary(err error) bool {
	var e *dialect.Error
	return errors.As(err, &e) && e.Temporary
}

// A Set is the sources of a process. It can be used concurrently.
type Set struct {
	sources map[string]*entry
}

type entry struct {
	sqlsource.Source
	slots chan struct{} // as many as there may be connections
}

// New makes a set of sources that are valid.
func New(all []sqlsource.Source) (*Set, error) {
	if err := Validate(all); err != nil {
		return nil, err
	}
	s := &Set{sources: map[string]*entry{}}
	for _, c := range all {
		option.Default(&c.Connections, DefaultConnections)
		option.Default(&c.Timeout, DefaultTimeout)
		s.sources[c.Name] = &entry{Source: c, slots: make(chan struct{}, c.Connections)}
	}
	return s, nil
}

// For returns those of the sources that jobs of a topic may export.
func (s *Set) For(topic wire.Topic) *Set {
	own := &Set{sources: map[string]*entry{}}
	for name, e := range s.sources {
		if len(e.Topics) == 0 || slices.ContainsFunc(e.Topics, topic.In) {
			own.sources[name] = e
		}
	}
	return own
}

// request makes a request of a source, with the values of its parameters.
func (s *Set) request(name string, params map[string]string) (*entry, *dialect.Request, error) {
	e, ok := s.sources[name]
	if !ok {
		return nil, nil, fmt.Errorf("source %q: %w", clip(name), ErrUnknown)
	}
	r := &dialect.Request{Source: name, Table: e.Table, Query: e.Query, Key: e.Key, ConnectTimeout: connectTimeout}
	for _, p := range e.Params {
		value, given := params[p]
		switch {
		case params == nil: // only described
		case !given:
			return nil, nil, fmt.Errorf("source %s: %w: %s is missing", name, ErrParams, p)
		case len(value) > maxParamBytes:
			return nil, nil, fmt.Errorf("source %s: %w: %s has %d bytes; at most %d", name, ErrParams, p, len(value), maxParamBytes)
		case !utf8.ValidString(value) || strings.ContainsRune(value, 0):
			return nil, nil, fmt.Errorf("source %s: %w: %s is not UTF-8 without NUL", name, ErrParams, p)
		}
		r.Params = append(r.Params, dialect.Param{Name: p, Value: value})
	}
	for _, p := range slices.Sorted(maps.Keys(params)) {
		if !slices.Contains(e.Params, p) {
			return nil, nil, fmt.Errorf("source %s: %w: it has none named %q", name, ErrParams, clip(p))
		}
	}
	return e, r, nil
}

// locate reads where the database is.
func (c *entry) locate(r *dialect.Request) (driver string, err error) {
	if r.URL, err = c.url(); err != nil {
		return "", err
	}
	if driver, err = driverOf(r.URL); err != nil {
		return "", r.Permanent("its url_file: %v", err)
	}
	return driver, nil
}

// Open opens a source with a value for each of its parameters, at a position that Position gave, or at
// its beginning for nil. It waits while as many are open as there may be connections. ctx bounds
// the opening, which checks the key and counts the rows. The error is Temporary, or wraps ErrUnknown,
// ErrParams or ErrChanged, or is for an admin to mend.
func (s *Set) Open(ctx context.Context, name string, params map[string]string, at []byte) (*Source, error) {
	if params == nil {
		params = map[string]string{}
	}
	e, r, err := s.request(name, params)
	if err != nil {
		return nil, err
	}
	var pos position
	if at != nil {
		if pos, err = parsePosition(at); err != nil {
			return nil, fmt.Errorf("source %s: %w", name, err)
		}
		r.After = pos.Key
	}
	if len(r.After) != 0 && len(r.After) != len(e.Key) {
		return nil, fmt.Errorf("source %s: %w", name, ErrChanged)
	}
	driver, err := e.locate(r)
	if err != nil {
		return nil, err
	}
	select {
	case e.slots <- struct{}{}:
	case <-ctx.Done():
		return nil, fmt.Errorf("source %s: waiting for one of its connections: %w", name, context.Cause(ctx))
	}
	out, err := open(ctx, e, driver, r, pos)
	if err != nil {
		<-e.slots
	}
	return out, err
}

func open(ctx context.Context, e *entry, driver string, r *dialect.Request, pos position) (*Source, error) {
	out := &Source{name: e.Name, timeout: e.Timeout, pos: pos, release: func() { <-e.slots }}
	inner, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	out.cancel, out.cause = cancel, func() error { return context.Cause(inner) }
	out.follow(ctx)
	out.turn.Add(1)
	out.guards.Go(func() { out.guard(inner) })

	var err error
	if driver == Postgres {
		out.reader, err = reader(postgres.Open(inner, r))
	} else {
		out.reader, err = reader(sqlite.Open(inner, r))
	}
	out.turn.Add(1)
	if err == nil {
		of := fingerprint(e, driver, r.Params, out.reader.Columns(), out.reader.Types())
		if pos.Of != nil && string(pos.Of) != string(of) {
			err = fmt.Errorf("source %s: %w", e.Name, ErrChanged)
		}
		out.pos.Of = of
	}
	if err != nil {
		out.release = func() {}
		err = out.explain(ctx, err)
		_ = out.Close() // err says more
		return nil, err
	}
	out.total = pos.Rows + out.reader.Remaining()
	out.pos.begin(out.reader.Snapshot(), out.reader.Text(pos.Key))
	return out, nil
}

// reader keeps a nil pointer from being a reader.
func reader[R dialect.Reader](r R, err error) (dialect.Reader, error) {
	if err != nil {
		return nil, err
	}
	return r, nil
}

// A Source is a rows.Source of a database: one snapshot, one statement.
type Source struct {
	name    string
	timeout time.Duration
	reader  dialect.Reader
	pos     position // but for its key, which is the reader's once there were rows
	total   int64

	// cancel ends what runs in the database; cause is why it was called.
	cancel context.CancelCauseFunc
	cause  func() error
	// done and unfollow are of the context that the caller gave last.
	done     <-chan struct{}
	unfollow func() bool

	// turn is odd while the database is waited for.
	turn    atomic.Uint64
	guards  sync.WaitGroup
	release func()
}

var (
	_          rows.Source = (*Source)(nil)
	errSilent              = errors.New("no answer in time")
	errClosing             = errors.New("closed")
)

// follow has what runs end with ctx, from one call to the next: a caller gives the same mostly, and the
// database goes on between its calls.
func (s *Source) follow(ctx context.Context) {
	if ctx.Done() == s.done && s.unfollow != nil {
		return
	}
	if s.unfollow != nil {
		s.unfollow()
	}
	s.done = ctx.Done()
	s.unfollow = context.AfterFunc(ctx, func() { s.cancel(context.Cause(ctx)) })
}

// guard ends what runs when the database is waited for longer than the timeout.
func (s *Source) guard(inner context.Context) {
	const looks = 4
	t := time.NewTicker(s.timeout / looks)
	defer t.Stop()
	var last uint64
	for same := 0; ; {
		select {
		case <-inner.Done():
			return
		case <-t.C:
		}
		turn := s.turn.Load()
		if turn%2 == 0 || turn != last {
			last, same = turn, 0
			continue
		}
		if same++; same == looks {
			s.cancel(errSilent)
			return
		}
	}
}

// explain says why a call failed: the caller's context and the timeout go before what the database made
// of them.
func (s *Source) explain(ctx context.Context, err error) error {
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("source %s: %w", s.name, context.Cause(ctx))
	case errors.Is(s.cause(), errSilent):
		return &dialect.Error{Source: s.name, Temporary: true, Reason: fmt.Sprintf("the database gave no answer for %s: is something locked, or its query slow?", s.timeout)}
	}
	return err
}

// Columns are those of each row.
func (s *Source) Columns() []rows.Column { return s.reader.Columns() }

// Next reads the next row. Its error is Temporary if the source can be opened again at its position.
// What runs in the database ends at once with ctx, between calls, too.
func (s *Source) Next(ctx context.Context, row []rows.Value) error {
	s.follow(ctx)
	if ctx.Err() != nil {
		return s.explain(ctx, nil)
	}
	s.turn.Add(1)
	err := s.reader.Next(row)
	s.turn.Add(1)
	switch {
	case err == nil:
		s.pos.Rows++
		return nil
	case errors.Is(err, io.EOF):
		return io.EOF
	}
	return s.explain(ctx, err)
}

// Position is where the source stands, with the snapshots that its rows are from.
func (s *Source) Position() ([]byte, error) {
	pos := s.pos
	if key := s.reader.Key(); key != nil {
		pos.Key = key
	}
	return pos.encode()
}

// Progress says how many rows were read, and of how many: those that earlier attempts read, and those
// that this one's snapshot has after them.
func (s *Source) Progress() (done, total int64) { return s.pos.Rows, s.total }

// Close ends what runs and the session. A second call does nothing.
func (s *Source) Close() error {
	if s.unfollow == nil {
		return nil
	}
	s.unfollow()
	s.unfollow = nil
	s.cancel(errClosing)
	var err error
	if s.reader != nil {
		err = s.reader.Close()
	}
	s.guards.Wait()
	s.release()
	return err
}

// Info is what Inspect tells of a source.
type Info struct {
	Driver  string
	Columns []rows.Column
	// Types are the columns' types as the database names them.
	Types []string
}

// Inspect connects to a source and returns its columns. It reads no rows, and checks the key only as far
// as a table's constraints tell. Driver is there despite an error, if the URL says it.
func (s *Set) Inspect(ctx context.Context, name string) (Info, error) {
	e, r, err := s.request(name, nil)
	if err != nil {
		return Info{}, err
	}
	var info Info
	if info.Driver, err = e.locate(r); err != nil {
		return info, err
	}
	describe := sqlite.Describe
	if info.Driver == Postgres {
		describe = postgres.Describe
	}
	info.Columns, info.Types, err = describe(ctx, r)
	if err != nil && ctx.Err() != nil {
		err = &dialect.Error{Source: name, Temporary: true, Reason: "the database does not answer in time"}
	}
	return info, err
}
