package gateway_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/engine/runtime"
)

// A clientsRole is the process of all clients, and of the engine that publishes: one
// clock for both.
type clientsRole struct {
	engine  *engine.Engine
	sources []*source // by topic
	sockets []*socket
	topics  int
	sample  []byte // a records frame of one record, as a gateway sent it
	replay  []byte // one of all the records that a client missed
}

func (c *clientsRole) deeds() map[string]deed {
	return map[string]deed{
		"seed": deedOf(c.seed), "connect": deedOf(c.connect), "hang up": deedOf(c.hangUp),
		"deliver": deedOf(c.deliver), "return": deedOf(c.comeBack),
		"enqueue": deedOf(c.enqueue), "leave unread": deedOf(c.leaveUnread),
	}
}

// A crew is goroutines that do their parts of a deed.
type crew struct {
	running sync.WaitGroup
	places  chan struct{} // nil: any number at a time
	mu      sync.Mutex
	errs    []error
}

func (c *crew) limit(n int) { c.places = make(chan struct{}, n) }

func (c *crew) run(part func() error) {
	if c.places != nil {
		c.places <- struct{}{}
	}
	c.running.Go(func() {
		err := part()
		if c.places != nil {
			<-c.places
		}
		if err != nil {
			c.mu.Lock()
			c.errs = append(c.errs, err)
			c.mu.Unlock()
		}
	})
}

// wait returns the first part's error.
func (c *crew) wait() error {
	c.running.Wait()
	if len(c.errs) == 0 {
		return nil
	}
	return c.errs[0]
}

func topicName(i int) string { return "team:" + strconv.Itoa(i) }

// A source writes as the first attempt of a job, the only one of its topic.
type source struct {
	e     *engine.Engine
	job   engine.JobID
	fence runtime.Fence
	first engine.Cursor // of the attempt's start
}

func newSource(ctx context.Context, e *engine.Engine, topic string) (*source, error) {
	got, err := e.Enqueue(ctx, engine.Spec{Topic: engine.Topic(topic), Type: "export", Title: "Orders 2025"})
	if err != nil {
		return nil, err
	}
	s := &source{e: e, job: got.ID, fence: runtime.Fence{Attempt: 1, Token: runtime.NewToken()}}
	s.first, err = s.write(ctx, runtime.Report{Type: engine.JobStarted})
	return s, err
}

func (s *source) write(ctx context.Context, reports ...runtime.Report) (engine.Cursor, error) {
	for i := range reports {
		s.fence.Seq++
		reports[i].Job, reports[i].Fence = s.job, s.fence
	}
	acks, err := runtime.Of(s.e).Commit(ctx, reports...)
	if err != nil {
		return "", err
	}
	for _, a := range acks {
		if a.Err != nil {
			return "", a.Err
		}
	}
	return acks[len(acks)-1].ID, nil
}

// tick reports what a worker does: a count, a percent and a message.
func tick(n int, message string) runtime.Report {
	return runtime.Report{Type: engine.JobProgress, Tenths: min(n, 990), Shown: &runtime.Shown{
		Progress: engine.Progress{Done: int64(n), Total: 1000, Unit: "rows"}, Message: message, Stage: engine.Stage{Name: "read", Count: 3},
	}}
}

// A seeding is how many topics there are, and how many records each has after its
// job's start.
type seeding struct {
	serving
	Topics, Records int
}

func (c *clientsRole) seed(s seeding) (none, error) {
	ctx := context.Background()
	var err error
	c.engine, err = engine.Open(ctx, engine.Options{URL: s.URL, Namespace: s.Namespace, Logger: quiet()})
	if err != nil {
		return none{}, err
	}
	c.topics, c.sources = s.Topics, make([]*source, s.Topics)
	var all crew
	all.limit(64)
	for i := range c.sources {
		all.run(func() (err error) {
			if c.sources[i], err = newSource(ctx, c.engine, topicName(i)); err != nil || s.Records == 0 {
				return err
			}
			ticks := make([]runtime.Report, s.Records)
			for n := range ticks {
				ticks[n] = tick(n, "reading orders")
			}
			_, err = c.sources[i].write(ctx, ticks...)
			return err
		})
	}
	return none{}, all.wait()
}

// A party is clients that come to an address.
type party struct {
	Addr  string
	Count int // that there are to be
	Bare  bool
}

// connect adds sockets that are subscribed and live.
func (c *clientsRole) connect(p party) (none, error) {
	var all crew
	all.limit(16)
	have := len(c.sockets)
	c.sockets = append(c.sockets, make([]*socket, p.Count-have)...)
	for i := have; i < p.Count; i++ {
		all.run(func() error {
			s, err := dialSocket(p.Addr)
			if err != nil {
				return err
			}
			c.sockets[i] = s
			if err := s.subscribe(topicName(i%c.topics), ""); err != nil {
				return err
			}
			return s.until("live", nil)
		})
	}
	return none{}, all.wait()
}

func (c *clientsRole) hangUp(none) (none, error) {
	for _, s := range c.sockets {
		if s != nil {
			s.conn.Close()
		}
	}
	c.sockets = nil
	return none{}, nil
}

// A homecoming is what a party that came at once has received: how many records, until
// the last of it was live.
type homecoming struct {
	Records int
	Took    time.Duration
}

// comeBack connects all at once, each with its cursor.
func (c *clientsRole) comeBack(p party) (homecoming, error) {
	if p.Bare {
		if err := c.tellBare(p.Addr); err != nil {
			return homecoming{}, err
		}
	}
	c.sockets = make([]*socket, p.Count)
	var records atomic.Int64
	var once sync.Once
	var all crew
	gate := make(chan struct{})
	for i := range c.sockets {
		all.run(func() error {
			<-gate
			s, err := dialSocket(p.Addr)
			if err != nil {
				return err
			}
			c.sockets[i] = s
			topic := i % c.topics
			if err := s.subscribe(topicName(topic), string(c.sources[topic].first)); err != nil {
				return err
			}
			return s.until("live", func(text []byte) {
				if !bytes.HasPrefix(text, []byte(`{"type":"records"`)) {
					return
				}
				records.Add(int64(bytes.Count(text, recordMark)))
				once.Do(func() {
					if !p.Bare {
						c.replay = bytes.Clone(text)
					}
				})
			})
		})
	}
	begun := time.Now()
	close(gate)
	err := all.wait()
	return homecoming{int(records.Load()), time.Since(begun)}, err
}

// tellBare says to the bare server what each of its subscribers has missed.
func (c *clientsRole) tellBare(addr string) error {
	s, err := dialSocket(addr)
	if err != nil {
		return err
	}
	defer s.conn.Close()
	if err := s.send(append([]byte("replay "), c.replay...)); err != nil {
		return err
	}
	return s.until("live", nil)
}

// A delivery is how much is published to whom.
type delivery struct {
	party
	PerSecond, Records int // published, over all topics in turn
}

// Delays are from the call that commits a record to a client's receipt.
type delays struct {
	Deliveries, Bytes int
	P50, P99          time.Duration
}

// deliver publishes evenly over time, and waits until all who follow have received all.
// What they say of the time is the gateway's only.
func (c *clientsRole) deliver(d delivery) (delays, error) {
	publish, end, err := c.publisher(d.party)
	if err != nil {
		return delays{}, err
	}
	want := int64(0)
	for i := range d.Records {
		followers := len(c.sockets) / c.topics
		if i%c.topics < len(c.sockets)%c.topics {
			followers++
		}
		want += int64(followers)
	}
	epoch := time.Now()
	r := &receipts{c: c, epoch: epoch, want: want, done: make(chan struct{})}
	failed := make(chan error, len(c.sockets)+1)
	var readers sync.WaitGroup
	each := make([][]time.Duration, len(c.sockets))
	for i, s := range c.sockets {
		readers.Go(func() {
			for {
				err := s.next(func(text []byte) error { return r.take(text, &each[i]) })
				if err != nil {
					select {
					case <-r.done:
					default:
						failed <- err
					}
					return
				}
			}
		})
	}
	if err := pace(d, c.topics, epoch, publish); err != nil {
		return delays{}, err
	}
	select {
	case <-r.done:
	case err := <-failed:
		return delays{}, err
	case <-time.After(20 * time.Second):
		return delays{}, fmt.Errorf("%d of %d deliveries came", r.got.Load(), want)
	}
	// The readers stop at a deadline, and what they read is whole.
	for _, s := range c.sockets {
		err = errors.Join(err, s.conn.SetReadDeadline(time.Now()))
	}
	readers.Wait()
	for _, s := range c.sockets {
		err = errors.Join(err, s.conn.SetReadDeadline(time.Time{}))
	}
	sorted := slices.Concat(each...)
	slices.Sort(sorted)
	at := func(share float64) time.Duration { return sorted[int(share*float64(len(sorted)-1))] }
	return delays{len(sorted), int(r.bytes.Load()), at(0.5), at(0.99)}, errors.Join(err, end())
}

// receipts are what all sockets have got.
type receipts struct {
	c          *clientsRole
	epoch      time.Time
	want       int64
	got, bytes atomic.Int64
	done       chan struct{}
	once       sync.Once
}

// stamp is how long after the epoch a record was published, as its message.
const stampDigits = 19

var stampMark = []byte(`"message":"`)

func stamp(epoch time.Time) string { return fmt.Sprintf("%0*d", stampDigits, time.Since(epoch)) }

func (r *receipts) take(text []byte, delays *[]time.Duration) error {
	now := time.Since(r.epoch)
	n := 0
	r.bytes.Add(int64(len(text)))
	for rest := text; ; n++ {
		at := bytes.Index(rest, stampMark)
		if at < 0 {
			break
		}
		rest = rest[at+len(stampMark):]
		sent, err := strconv.ParseInt(string(rest[:stampDigits]), 10, 64)
		if err != nil {
			return fmt.Errorf("a record without a stamp: %s", text)
		}
		*delays = append(*delays, now-time.Duration(sent))
	}
	if n == 1 {
		r.once.Do(func() { r.c.sample = bytes.Clone(text) })
	}
	if r.got.Add(int64(n)) == r.want && n > 0 {
		close(r.done)
	}
	return nil
}

// publisher is what publishes to a topic, and how that ends.
func (c *clientsRole) publisher(p party) (publish func(topic, n int, message string) error, end func() error, err error) {
	if !p.Bare {
		return func(topic, n int, message string) error {
			_, err := c.sources[topic].write(context.Background(), tick(n, message))
			return err
		}, func() error { return nil }, nil
	}
	s, err := dialSocket(p.Addr)
	if err != nil {
		return nil, nil, err
	}
	at := bytes.Index(c.sample, stampMark) + len(stampMark)
	var mu sync.Mutex
	return func(topic, _ int, message string) error {
		mu.Lock()
		defer mu.Unlock()
		text := fmt.Appendf(nil, "publish %s %s%s%s", topicName(topic), c.sample[:at], message, c.sample[at+stampDigits:])
		return s.send(text)
	}, s.conn.Close, nil
}

// pace publishes what is due each millisecond. Publishers work at a time, but only one
// for a topic.
func pace(d delivery, topics int, epoch time.Time, publish func(topic, n int, message string) error) error {
	const publishers = 16
	var all crew
	queues := make([]chan int, publishers)
	for i := range queues {
		queues[i] = make(chan int, d.Records)
		all.run(func() error {
			for n := range queues[i] {
				if err := publish(n%topics, n/topics, stamp(epoch)); err != nil {
					return err
				}
			}
			return nil
		})
	}
	ticker := time.NewTicker(time.Millisecond)
	defer ticker.Stop()
	period := time.Second / time.Duration(d.PerSecond)
	for n := 0; n < d.Records; {
		<-ticker.C
		for ; n < d.Records && time.Since(epoch) >= time.Duration(n)*period; n++ {
			queues[n%topics%publishers] <- n
		}
	}
	for _, q := range queues {
		close(q)
	}
	return all.wait()
}
