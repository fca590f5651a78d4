package ground

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/tidemark-dev/tidemark/engine/wire"
)

// Job is that of engine.Engine.
func (g *Ground) Job(ctx context.Context, id wire.JobID) (wire.View, error) {
	if _, err := wire.ParseJobID(string(id)); err != nil {
		return wire.View{}, err
	}
	if !g.Keys.Holds(id) {
		return wire.View{}, fmt.Errorf("job %s: %w", id, wire.ErrNotFound)
	}
	views, err := g.Views(ctx, []wire.JobID{id})
	if err != nil {
		return wire.View{}, err
	}
	if len(views) == 0 {
		return wire.View{}, fmt.Errorf("job %s: %w", id, wire.ErrNotFound)
	}
	return views[0], nil
}

// viewFields are the parts of a job's view, as in commit.lua.
var viewFields = []string{"t", "st", "v", "g", "e", "p", "r", "fl", "af"}

// Letters of a job's field fl, as state.lua has them.
const (
	FlagCanceling = "c"
	flagPausing   = "p"
)

// Views reads jobs, without those that no longer exist.
func (g *Ground) Views(ctx context.Context, ids []wire.JobID) ([]wire.View, error) {
	views := make([]wire.View, 0, len(ids))
	for chunk := range slices.Chunk(ids, 500) {
		pipe := g.Redis.Pipeline()
		cmds := make([]*redis.SliceCmd, len(chunk))
		for i, id := range chunk {
			cmds[i] = pipe.HMGet(ctx, g.Keys.Job(id), viewFields...)
		}
		if _, err := pipe.Exec(ctx); err != nil {
			return nil, Failure("read jobs", err)
		}
		for i, c := range cmds {
			if f := c.Val(); f[1] != nil {
				views = append(views, ComposeView(chunk[i], f))
			}
		}
	}
	return views, nil
}

// ComposeView composes a view as commit.lua does for a record; a test compares the two.
func ComposeView(id wire.JobID, f []any) wire.View {
	tenths, _ := strconv.Atoi(Text(f[5]))
	asked := ""
	if flags := Text(f[7]); flags != "" && !wire.State(Text(f[1])).Ended() {
		if strings.Contains(flags, FlagCanceling) {
			asked = `,"canceling":true`
		}
		if strings.Contains(flags, flagPausing) {
			asked += `,"pausing":true`
		}
	}
	return wire.View{ID: id, Topic: wire.Topic(Text(f[0])), JSON: []byte(
		`{"id":"` + string(id) + `","rev":` + Text(f[6]) + Text(f[2]) + `,"state":"` + Text(f[1]) +
			`","percent":` + strconv.FormatFloat(float64(tenths)/10, 'f', -1, 64) + asked +
			Text(f[8]) + Text(f[3]) + Text(f[4]) + "}")}
}

// TopicOf returns a job's topic.
func (g *Ground) TopicOf(ctx context.Context, id wire.JobID) (wire.Topic, error) {
	if _, err := wire.ParseJobID(string(id)); err != nil {
		return "", err
	}
	if !g.Keys.Holds(id) {
		return "", wire.ErrNotFound
	}
	t, err := g.Redis.HGet(ctx, g.Keys.Job(id), "t").Result()
	if errors.Is(err, redis.Nil) {
		return "", wire.ErrNotFound
	}
	return wire.Topic(t), Failure("read job "+string(id), err)
}
