package engine_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/engine/runtime"
	"github.com/tidemark-dev/tidemark/internal/redistest"
)

func nightly(topic engine.Topic) engine.Schedule {
	return engine.Schedule{
		Topic: topic, Name: "nightly", Cron: "30 2 * * *", TimeZone: "Europe/Berlin", Type: "report", Title: "Nightly",
		Labels: map[string]string{"region": "eu"}, Payload: json.RawMessage(`{"Days": 1}`), MaxAttempts: 1,
	}
}

// rewind sets the last tick of a schedule that a worker has handled.
func rewind(t testing.TB, e *engine.Rig, s engine.Schedule, to time.Time) {
	t.Helper()
	must(t, e.Redis().HSet(t.Context(), e.TicksKey(), string(s.Topic)+"|"+s.Name, to.UnixMilli()).Err())
}

// scheduled finds a schedule in the agenda.
func scheduled(t testing.TB, e *engine.Rig, s engine.Schedule, configured ...engine.Schedule) engine.Scheduled {
	t.Helper()
	a, err := e.AllSchedules(soon(t), configured)
	must(t, err)
	for _, at := range a.Schedules {
		if at.Topic == s.Topic && at.Name == s.Name {
			return at
		}
	}
	t.Fatalf("the agenda lacks %s of %s: %+v", s.Name, s.Topic, a.Schedules)
	panic("unreachable")
}

func testSchedules(t *testing.T, ctx context.Context, e *engine.Rig) {
	const topic = engine.Topic("schedules:1")
	s := nightly(topic)
	put, created, err := e.PutSchedule(ctx, s)
	must(t, err)
	if !created || put.Queue != engine.DefaultQueue || put.Missed != engine.MissedLatest || !put.LastAt.IsZero() || !put.NextAt.After(time.Now()) {
		t.Errorf("put: %+v, created %t", put, created)
	}
	text, err := e.Redis().HGet(ctx, e.SchedulesKey(), string(topic)+"|nightly").Result()
	must(t, err)
	again, created, err := e.PutSchedule(ctx, s)
	must(t, err)
	same, err := e.Redis().HGet(ctx, e.SchedulesKey(), string(topic)+"|nightly").Result()
	must(t, err)
	if created || !again.NextAt.Equal(put.NextAt) || text != same {
		t.Errorf("put again: %+v, created %t, stored as\n%s\n%s", again, created, text, same)
	}

	// One that replaces another goes on after its last tick.
	yesterday := time.Now().Add(-24 * time.Hour).Truncate(time.Second).UTC()
	rewind(t, e, s, yesterday)
	s.Cron, s.Title = "0 * * * *", "Hourly"
	if again, created, err = e.PutSchedule(ctx, s); err != nil || created || !again.LastAt.Equal(yesterday) ||
		!again.NextAt.Equal(yesterday.Truncate(time.Hour).Add(time.Hour)) {
		t.Errorf("replaced: %+v, created %t, %v", again, created, err)
	}

	other, mine := nightly("schedules:2"), nightly(topic)
	mine.Name = "a.second"
	_, _, err1 := e.PutSchedule(ctx, other)
	_, _, err2 := e.PutSchedule(ctx, mine)
	must(t, err1, err2)
	configured := nightly(topic)
	configured.Title = "From a file"
	elsewhere := nightly("schedules:3")
	names := func(all []engine.Scheduled) string {
		var texts []string
		for _, at := range all {
			texts = append(texts, fmt.Sprintf("%s/%s/%s", at.Topic, at.Name, at.Title))
		}
		return strings.Join(texts, " ")
	}
	listed, err := e.Schedules(ctx, topic, configured, elsewhere)
	must(t, err)
	if got, want := names(listed), "schedules:1/a.second/Nightly schedules:1/nightly/From a file"; got != want {
		t.Errorf("listed are %s, want %s", got, want)
	}
	if listed, err = e.Schedules(ctx, topic); err != nil || names(listed) != "schedules:1/a.second/Nightly schedules:1/nightly/Hourly" {
		t.Errorf("listed are %s, %v", names(listed), err)
	}
	if p := fmt.Sprintf("%s", listed[0].Payload); p != `{"Days":1}` || listed[0].MaxAttempts != 1 || listed[0].Labels["region"] != "eu" || listed[0].TimeZone != "Europe/Berlin" {
		t.Errorf("read back: %+v, payload %s", listed[0], p)
	}
	a, err := e.AllSchedules(ctx, []engine.Schedule{configured, elsewhere})
	must(t, err)
	if got, want := names(a.Schedules), "schedules:1/a.second/ schedules:1/nightly/From a file schedules:2/nightly/ schedules:3/nightly/Nightly"; got != want {
		t.Errorf("the agenda is %s, want %s", got, want)
	}

	must(t, e.DeleteSchedule(ctx, topic, "nightly"))
	if err := e.DeleteSchedule(ctx, topic, "nightly"); !errors.Is(err, engine.ErrNoSchedule) || !errors.Is(err, engine.ErrNotFound) {
		t.Errorf("deleted twice: %v", err)
	}
	// What is configured has its ticks, whatever is said of stored ones.
	rewind(t, e, elsewhere, yesterday)
	if err := e.DeleteSchedule(ctx, elsewhere.Topic, elsewhere.Name); !errors.Is(err, engine.ErrNoSchedule) {
		t.Errorf("deleting a configured one: %v", err)
	}
	if at := scheduled(t, e, elsewhere, elsewhere); !at.LastAt.Equal(yesterday) {
		t.Errorf("after a refused delete the configured one's last tick is %s, want %s", at.LastAt, yesterday)
	}
	// A new one of the name is new.
	if again, created, err = e.PutSchedule(ctx, s); err != nil || !created || !again.LastAt.IsZero() || again.NextAt.Before(a.Now) {
		t.Errorf("put after it was deleted: %+v, created %t, %v", again, created, err)
	}

	// What fires makes a job that tells of its schedule, and moves on.
	due := yesterday.Truncate(time.Hour)
	rewind(t, e, s, due)
	at := scheduled(t, e, s)
	if !at.LastAt.Equal(due) || !at.NextAt.Equal(due.Add(time.Hour)) {
		t.Errorf("rewound to %s, its last and next ticks are %s and %s", due, at.LastAt, at.NextAt)
	}
	fired, err := e.Fire(ctx, at, time.Minute)
	must(t, err)
	if len(fired.Jobs) == 0 || len(fired.Jobs)+fired.Passed < 23 || fired.Wait <= 0 || fired.Wait > time.Hour {
		t.Fatalf("fired %+v", fired)
	}
	v, err := e.Job(ctx, fired.Jobs[len(fired.Jobs)-1])
	must(t, err)
	j, err := v.Job()
	must(t, err)
	if j.Topic != topic || j.Type != "report" || j.Title != "Hourly" || j.Labels[engine.ScheduleLabel] != "nightly" || j.Labels["region"] != "eu" ||
		!j.ID.Time().Equal(at.NextAt.Add(time.Duration(len(fired.Jobs)+fired.Passed-1)*time.Hour)) {
		t.Errorf("the job is %s", v.JSON)
	}
	if after := scheduled(t, e, s); !after.LastAt.Equal(j.ID.Time()) {
		t.Errorf("after the job of %s its last tick is %s", j.ID.Time(), after.LastAt)
	}
	if fired, err = e.Fire(ctx, at, time.Minute); err != nil || len(fired.Jobs)+fired.Passed != 0 {
		t.Errorf("fired again, with an old view of it: %+v, %v", fired, err)
	}
	// Of one that is gone nothing comes, whatever the worker still holds.
	must(t, e.DeleteSchedule(ctx, topic, "nightly"))
	if fired, err = e.Fire(ctx, at, time.Minute); err != nil || len(fired.Jobs) != 0 || fired.Wait >= 0 {
		t.Errorf("fired after it was deleted: %+v, %v", fired, err)
	}
	if held, err := e.Redis().HExists(ctx, e.TicksKey(), string(topic)+"|nightly").Result(); err != nil || held {
		t.Errorf("a tick is left: %t, %v", held, err)
	}
}

// However many fire a tick at the same time, there is one job, and the jobs of several
// ticks come in the order of these.
func TestATickMakesOneJob(t *testing.T) {
	t.Parallel()
	url := redistest.Server(t).URL()
	options := sharing(nil)
	const firing = 8
	engines := make([]*engine.Rig, firing)
	for i := range engines {
		engines[i] = with(t, url, options)
	}
	e, ctx := engines[0], soon(t)
	s := engine.Schedule{Topic: "user:42", Name: "often", Cron: "@every 1h", Type: "report", Missed: engine.MissedAll}
	_, _, err := e.PutSchedule(ctx, s)
	must(t, err)
	a, err := e.AllSchedules(ctx, nil)
	must(t, err)
	const ticks = 30
	rewind(t, e, s, a.Now.Truncate(time.Hour).Add(-ticks*time.Hour))
	at := scheduled(t, e, s)

	var all sync.WaitGroup
	begin := make(chan struct{})
	fired, errs := make([]runtime.Fired, firing), make([]error, firing)
	for i, e := range engines {
		all.Go(func() {
			<-begin
			fired[i], errs[i] = e.Fire(ctx, at, time.Minute)
		})
	}
	close(begin)
	all.Wait()
	must(t, errs...)
	// One that had made the jobs and died before it noted so: the same again.
	rewind(t, e, s, a.Now.Truncate(time.Hour).Add(-ticks*time.Hour))
	repeated, err := e.Fire(ctx, at, time.Minute)
	must(t, err)
	if len(repeated.Jobs) != ticks || repeated.Passed != 0 {
		t.Fatalf("%d jobs, %d passed over, want %d", len(repeated.Jobs), repeated.Passed, ticks)
	}
	for i, f := range fired {
		if n := len(f.Jobs); n != 0 && !slices.Equal(f.Jobs, repeated.Jobs) {
			t.Errorf("engine %d fired %v, want %v", i, f.Jobs, repeated.Jobs)
		}
	}

	page, err := e.Replay(ctx, s.Topic, engine.Beginning)
	must(t, err)
	var queued []engine.JobID
	for _, entry := range page.Entries {
		r, err := entry.Record()
		must(t, err)
		if r.Type != engine.JobQueued {
			t.Errorf("a record %s", entry.JSON)
		}
		queued = append(queued, r.Job.ID)
	}
	if !slices.Equal(queued, repeated.Jobs) {
		t.Errorf("queued were %v, want %v", queued, repeated.Jobs)
	}
	for i, job := range queued {
		if want := a.Now.Truncate(time.Hour).Add(time.Duration(i-ticks+1) * time.Hour); !job.Time().Equal(want) {
			t.Errorf("job %d is of %s, want %s", i, job.Time(), want)
		}
	}
	info, err := e.Redis().LLen(ctx, "asynq:{"+e.QueueName(engine.DefaultQueue)+"}:pending").Result()
	if err != nil || info != ticks {
		t.Errorf("asynq has %d tasks, %v, want %d", info, err, ticks)
	}
}

// Ticks before a worker first saw a schedule make no jobs, stored or configured.
func TestAScheduleTicksFromItsFirstSight(t *testing.T) {
	t.Parallel()
	e := open(t, redistest.Server(t).URL(), nil)
	s := engine.Schedule{Topic: "user:42", Name: "often", Cron: "@every 1s", Type: "report", Missed: engine.MissedAll}
	for range 2 {
		at := scheduled(t, e, s, s)
		if !at.LastAt.IsZero() {
			t.Errorf("it has ticked at %s", at.LastAt)
		}
	}
	first := scheduled(t, e, s, s).NextAt
	ctx := soon(t)
	for {
		fired, err := e.Fire(ctx, scheduled(t, e, s, s), time.Minute)
		must(t, err)
		if len(fired.Jobs) > 0 {
			if got := fired.Jobs[0].Time(); !got.Equal(first) {
				t.Errorf("the first job is of %s, want %s", got, first)
			}
			break
		}
		if fired.Wait < 0 || fired.Wait > time.Second {
			t.Fatalf("it is to wait for %s", fired.Wait)
		}
		select {
		case <-time.After(fired.Wait):
		case <-ctx.Done():
			t.Fatal("no tick came")
		}
	}
	if stored, err := e.Schedules(ctx, s.Topic); err != nil || len(stored) != 0 {
		t.Errorf("a configured schedule was stored: %+v, %v", stored, err)
	}
}

func TestSchedulesThatAreRefused(t *testing.T) {
	t.Parallel()
	e := open(t, redistest.Server(t).URL(), nil)
	labels := func(n int, more ...string) map[string]string {
		all := map[string]string{}
		for i := range n {
			all[fmt.Sprintf("l%d", i)] = "x"
		}
		for _, name := range more {
			all[name] = "x"
		}
		return all
	}
	for _, c := range []struct {
		name   string
		change func(*engine.Schedule)
		want   string // "": taken
	}{
		{"as it is", func(*engine.Schedule) {}, ""},
		{"no topic", func(s *engine.Schedule) { s.Topic = "" }, "invalid topic"},
		{"no name", func(s *engine.Schedule) { s.Name = "" }, "invalid schedule Name"},
		{"a name with the hash's mark", func(s *engine.Schedule) { s.Name = "a|b" }, "invalid schedule Name"},
		{"a name of 65", func(s *engine.Schedule) { s.Name = strings.Repeat("a", 65) }, "invalid schedule Name"},
		{"a name of 64", func(s *engine.Schedule) { s.Name = strings.Repeat("a", 64) }, ""},
		{"no expression", func(s *engine.Schedule) { s.Cron = "" }, "invalid Cron"},
		{"a zone of nowhere", func(s *engine.Schedule) { s.TimeZone = "Europe/Atlantis" }, `invalid TimeZone "Europe/Atlantis"`},
		{"a policy of none", func(s *engine.Schedule) { s.Missed = "some" }, `invalid Missed "some": want skip, latest or all`},
		{"no type", func(s *engine.Schedule) { s.Type = "" }, "invalid Type"},
		{"a queue of Tidemark's own", func(s *engine.Schedule) { s.Queue = "x-rescue" }, "invalid Queue"},
		{"a long title", func(s *engine.Schedule) { s.Title = strings.Repeat("a", 201) }, "invalid Title"},
		{"too many attempts", func(s *engine.Schedule) { s.MaxAttempts = 1001 }, "invalid MaxAttempts"},
		{"15 labels", func(s *engine.Schedule) { s.Labels = labels(15) }, ""},
		{"16 labels", func(s *engine.Schedule) { s.Labels = labels(16) }, "at most 15 beside the label schedule"},
		{"16 labels with that one", func(s *engine.Schedule) { s.Labels = labels(15, "schedule") }, ""},
		{"a payload that is no JSON", func(s *engine.Schedule) { s.Payload = json.RawMessage("rows") }, "invalid Payload: want JSON"},
		{"a large payload", func(s *engine.Schedule) {
			s.Payload = json.RawMessage(`"` + strings.Repeat("a", engine.MaxSchedulePayloadBytes-1) + `"`)
		}, "Payload"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := nightly("user:42")
			c.change(&s)
			_, _, err := e.PutSchedule(soon(t), s)
			invalid := errors.Is(err, engine.ErrInvalid) || errors.Is(err, engine.ErrInvalidTopic)
			switch {
			case c.want == "" && err != nil:
				t.Error(err)
			case c.want != "" && (!invalid || !strings.Contains(err.Error(), c.want)):
				t.Errorf("%v, want %s", err, c.want)
			}
			if plain := s.Validate(); (plain == nil) != (err == nil) {
				t.Errorf("Validate says %v, PutSchedule %v", plain, err)
			}
		})
	}
	if err := e.DeleteSchedule(soon(t), "user:42", "a|b"); !errors.Is(err, engine.ErrInvalid) {
		t.Errorf("deleting no name: %v", err)
	}
}

func TestATopicHasSoManySchedules(t *testing.T) {
	t.Parallel()
	e := open(t, redistest.Server(t).URL(), nil)
	s := nightly("user:4")
	for i := range engine.MaxSchedules {
		s.Name = fmt.Sprint("n", i)
		_, _, err := e.PutSchedule(soon(t), s)
		must(t, err)
	}
	if _, created, err := e.PutSchedule(soon(t), s); err != nil || created {
		t.Errorf("replacing one: created %t, %v", created, err)
	}
	s.Name = "more"
	if _, _, err := e.PutSchedule(soon(t), s); !errors.Is(err, engine.ErrInvalid) || !strings.Contains(err.Error(), "the topic has 100 schedules") {
		t.Errorf("one too many: %v", err)
	}
	s.Topic = "user:42" // begins alike
	if _, _, err := e.PutSchedule(soon(t), s); err != nil {
		t.Errorf("another topic's: %v", err)
	}
}

// Every worker looks at all schedules every few seconds, and every reader of a topic lists
// its: neither is to read what all the others carry, which may be 160 MB.
func TestLookingAtSchedulesReadsNoPayloads(t *testing.T) {
	t.Parallel()
	e := open(t, redistest.Server(t).URL(), nil)
	s := nightly("user:42")
	s.Payload = json.RawMessage(`"` + strings.Repeat("a", engine.MaxSchedulePayloadBytes-2) + `"`)
	for i := range engine.MaxSchedules {
		s.Name = fmt.Sprint("n", i)
		_, _, err := e.PutSchedule(soon(t), s)
		must(t, err)
	}
	s.Topic = "user:43"
	_, _, err := e.PutSchedule(soon(t), s)
	must(t, err)
	stat := func(section, before string) (n int) {
		info, err := e.Redis().Info(soon(t), section).Result()
		must(t, err)
		_, rest, _ := strings.Cut(info, before)
		_, err = fmt.Sscan(rest, &n)
		must(t, err)
		return n
	}
	const sent, whole = "total_net_output_bytes:", "cmdstat_hgetall:calls="
	bytes := stat("stats", sent)
	a, err := e.AllSchedules(soon(t), nil)
	bytes = stat("stats", sent) - bytes
	if err != nil || len(a.Schedules) != engine.MaxSchedules+1 || bytes > 100_000 {
		t.Errorf("ScheduleList finds %d in %d bytes: %v", len(a.Schedules), bytes, err)
	}
	reads := stat("commandstats", whole)
	all, err := e.Schedules(soon(t), s.Topic)
	reads = stat("commandstats", whole) - reads
	if err != nil || len(all) != 1 || reads != 0 {
		t.Errorf("Schedules finds %d and reads whole hashes %d times: %v", len(all), reads, err)
	}
}

// What an older or a newer program, or a hand, has left in the hash is shown, and does not
// keep the others from ticking.
func TestAStoredScheduleThatCannotBeUsed(t *testing.T) {
	t.Parallel()
	e := open(t, redistest.Server(t).URL(), nil)
	good := nightly("user:42")
	_, _, err := e.PutSchedule(soon(t), good)
	must(t, err)
	for name, text := range map[string][2]string{
		"zone":    {`{"cron":"@daily","time_zone":"Mars/Olympus","type":"report","colour":"red"}`, "Mars/Olympus @daily"},
		"garbage": {`{`, "UTC @daily"},
	} {
		must(t, e.Redis().HSet(soon(t), e.SchedulesKey(), "user:42|"+name, text[0]).Err())
		must(t, e.Redis().HSet(soon(t), e.TimesKey(), "user:42|"+name, text[1]).Err())
	}
	all, err := e.Schedules(soon(t), "user:42")
	must(t, err)
	if len(all) != 3 || all[0].Name != "garbage" || all[0].Err == nil || all[1].Err != nil || all[2].Name != "zone" ||
		!strings.Contains(fmt.Sprint(all[2].Err), "Mars/Olympus") {
		t.Fatalf("listed are %+v", all)
	}
	for _, name := range []string{"zone", "garbage"} {
		at := scheduled(t, e, engine.Schedule{Topic: "user:42", Name: name})
		if (at.Err != nil) != (name == "zone") {
			t.Errorf("the agenda says of %s: %v", name, at.Err)
		}
		if _, err := e.Fire(soon(t), at, time.Minute); err == nil {
			t.Errorf("%s was fired", name)
		}
	}
	must(t, e.Redis().HDel(soon(t), e.TimesKey(), "user:42|nightly").Err())
	if at := scheduled(t, e, good); !errors.Is(at.Err, engine.ErrInvalid) || !strings.Contains(at.Err.Error(), "put it again") {
		t.Errorf("one whose times are lost: %+v", at)
	}
	_, _, err = e.PutSchedule(soon(t), good)
	must(t, err)
	if at := scheduled(t, e, good); at.Err != nil || at.NextAt.IsZero() {
		t.Errorf("put again: %+v", at)
	}
	b, err := json.Marshal(all[2])
	must(t, err)
	var back engine.Scheduled
	must(t, json.Unmarshal(b, &back))
	if back.Name != "zone" || back.Err == nil || back.Err.Error() != all[2].Err.Error() {
		t.Errorf("%s is read as %+v", b, back)
	}
}

// The JSON of the protocol: no payload, plain numbers, times only where there are some.
func TestScheduledAsJSON(t *testing.T) {
	at := time.Date(2026, 11, 27, 1, 30, 0, 0, time.UTC)
	s := engine.Scheduled{Schedule: nightly("user:42"), NextAt: at}
	s.Queue, s.Missed = "reports", engine.MissedSkip
	b, err := json.Marshal(s)
	must(t, err)
	const want = `{"topic":"user:42","name":"nightly","cron":"30 2 * * *","time_zone":"Europe/Berlin","missed":"skip","type":"report",` +
		`"title":"Nightly","labels":{"region":"eu"},"queue":"reports","max_attempts":1,"next_at":"2026-11-27T01:30:00Z"}`
	if string(b) != want {
		t.Errorf("%s\nwant\n%s", b, want)
	}
	var back engine.Scheduled
	must(t, json.Unmarshal(b, &back))
	if back.Name != "nightly" || back.MaxAttempts != 1 || !back.NextAt.Equal(at) || !back.LastAt.IsZero() || back.Err != nil {
		t.Errorf("read as %+v", back)
	}
}
