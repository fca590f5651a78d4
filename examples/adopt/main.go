// Command adopt is an asynq application, with a client, a handler and a server of asynq's
// own, whose tasks people can watch: the three lines that make them jobs are numbered. It
// takes the Redis of TIDEMARK_REDIS_URL, or that on 127.0.0.1:6379.
package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"strings"
	"time"

	"github.com/hibiken/asynq"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/worker"
)

// Encode is the payload of a task.
type Encode struct {
	User   string
	Frames int64
}

// encode counts frames. Without the line that is numbered it is any handler of asynq's.
func encode(ctx context.Context, t *asynq.Task) error {
	var todo Encode
	if err := json.Unmarshal(t.Payload(), &todo); err != nil {
		return fmt.Errorf("payload: %w: %w", err, asynq.SkipRetry)
	}
	for frame := range todo.Frames {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(time.Millisecond): // the work on a frame
		}
		worker.RunFrom(ctx).Progress(frame+1, todo.Frames) // 3
	}
	return nil
}

// topicOf tells for whom a task is done, and so who may watch it.
func topicOf(t *asynq.Task) engine.Topic {
	var todo Encode
	if json.Unmarshal(t.Payload(), &todo) != nil || todo.User == "" {
		return "" // of no user: it is left to asynq alone
	}
	return engine.Topic("user:" + todo.User)
}

// queue is one that no worker of Tidemark's serves: such a worker takes nothing more from a queue in
// which it finds another program's task.
const queue = "videos"

func main() {
	if err := run(context.Background(), cmp.Or(os.Getenv("TIDEMARK_REDIS_URL"), "redis://127.0.0.1:6379/0"), os.Stdout); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, url string, out io.Writer) (err error) {
	redis, err := redisOf(url)
	if err != nil {
		return err
	}
	e, err := engine.Open(ctx, engine.Options{URL: url})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, e.Close()) }()

	adopt, err := worker.Adopt(ctx, worker.AdoptOptions{Engine: e, Topic: topicOf, Queues: []string{queue}}) // 1
	if err != nil {
		return err
	}
	mux := asynq.NewServeMux()
	mux.Use(adopt.Middleware) // 2
	mux.HandleFunc("video:encode", encode)

	server := asynq.NewServer(redis, asynq.Config{
		Queues: map[string]int{queue: 1}, LogLevel: asynq.WarnLevel, IsFailure: adopt.IsFailure, RetryDelayFunc: adopt.RetryDelay,
	})
	if err := server.Start(mux); err != nil {
		return err
	}
	defer func() {
		server.Stop() // takes nothing new; then handlers checkpoint and return; then it ends
		err = errors.Join(err, adopt.Close(ctx))
		server.Shutdown()
	}()
	if err := enqueue(redis, Encode{User: "42", Frames: 1000}); err != nil {
		return err
	}
	return watch(ctx, e, "user:42", out)
}

// redisOf reads the address as asynq does, which has another word for a socket.
func redisOf(url string) (asynq.RedisConnOpt, error) {
	return asynq.ParseRedisURI(strings.Replace(url, "unix://", "redis-socket://", 1))
}

// enqueue knows nothing of Tidemark.
func enqueue(redis asynq.RedisConnOpt, todo Encode) (err error) {
	client := asynq.NewClient(redis)
	defer func() { err = errors.Join(err, client.Close()) }()
	payload, err := json.Marshal(todo)
	if err != nil {
		return err
	}
	_, err = client.Enqueue(asynq.NewTask("video:encode", payload), asynq.Queue(queue))
	return err
}

// watch follows a topic until a job of it has ended.
func watch(ctx context.Context, e *engine.Engine, topic engine.Topic, out io.Writer) error {
	for u, err := range e.Follow(ctx, engine.FollowQuery{Topic: topic, After: engine.Beginning}) {
		if err != nil {
			return err
		}
		if u.Kind != engine.UpdateRecord {
			continue
		}
		r, err := u.Entry.Record()
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "%-14s %5.1f%% %s\n", r.Type, r.Job.Percent, r.Job.Title)
		if r.Type.Terminal() {
			return nil
		}
	}
	return nil
}
