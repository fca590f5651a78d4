// Command wc counts the lines, words and bytes of the files below a folder, with a job
// for the folder and a child job for each file. It shows a handler with stages,
// checkpoints and children. It takes the Redis of TIDEMARK_REDIS_URL, or that on
// 127.0.0.1:6379.
//
//	go run ./examples/wc [FOLDER]
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"os"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/worker"
)

func main() {
	folder := "."
	if len(os.Args) > 1 {
		folder = os.Args[1]
	}
	if err := wc(context.Background(), os.Getenv("TIDEMARK_REDIS_URL"), folder, os.Stdout); err != nil {
		log.Fatal(err)
	}
}

// Folder is what the parent counts.
type Folder struct{ Path string }

// count is the parent's handler. Its first attempt finds the files and makes a child for
// each; then its slot is free. The attempt that follows when all of them have ended comes
// by the same lines, and adds up what they found.
func count(ctx context.Context, run *worker.Run, todo Folder) error {
	run.Stages(worker.Stage{Name: "list", Weight: 1}, worker.Stage{Name: "count", Weight: 18}, worker.Stage{Name: "add", Weight: 1})

	// Files may come and go; every attempt must make the same children. So what was found
	// is kept.
	run.Stage("list")
	var files []File
	if listed, err := run.Resume(&files); err != nil {
		return err
	} else if !listed {
		if files, err = list(todo.Path); err != nil {
			return worker.Permanent(err)
		}
		if err := run.Checkpoint(files); err != nil {
			return err
		}
	}

	run.Stage("count")
	children := make([]engine.Child, len(files))
	for i, f := range files {
		children[i] = engine.Child{
			Name: f.Path, Weight: weigh(f.Bytes),
			Spec:     engine.Spec{Type: "wc-file", Title: f.Path, Payload: f},
			Optional: true, // the sum names one that cannot be read
		}
	}
	outcomes, err := run.FanOut(ctx, "files", children)
	if err != nil {
		return err
	}

	run.Stage("add")
	var sum Counts
	for _, child := range outcomes {
		var c Counts
		if child.State != engine.Succeeded {
			sum.Unread++
			continue
		}
		if err := json.Unmarshal(child.Result, &c); err != nil {
			return err
		}
		sum.add(c)
	}
	return run.Result(sum)
}

// weigh gives a file its share of the bar: a weight is from 1 to 10,000.
func weigh(size int64) int { return int(min(1+size>>10, engine.MaxChildWeight)) }

// queue is one that no other worker serves. The children go to their parent's.
const queue = "counts"

func wc(ctx context.Context, url, folder string, out io.Writer) (err error) {
	e, err := engine.Open(ctx, engine.Options{URL: url})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, e.Close()) }()
	w, err := worker.New(worker.Options{Engine: e, Queues: []string{queue}})
	if err != nil {
		return err
	}
	worker.Handle(w, "wc", count)
	worker.Handle(w, "wc-file", countFile)
	if err := w.Start(ctx); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.Stop(ctx)) }()
	job, err := e.Enqueue(ctx, engine.Spec{Topic: "user:42", Type: "wc", Queue: queue, Title: folder, Payload: Folder{folder}})
	if err != nil {
		return err
	}
	for u, err := range e.Follow(ctx, engine.FollowQuery{Filter: engine.Filter{Job: job.ID}, After: engine.Beginning}) {
		if err != nil {
			return err
		}
		if r, err := u.Entry.Record(); u.Kind == engine.UpdateRecord && err == nil {
			fmt.Fprintln(out, line(r))
		}
	}
	return nil
}

func line(r engine.Record) string {
	s := fmt.Sprintf("%-14s %5.1f%%", r.Type, r.Job.Percent)
	if c := r.Job.Children; c != nil {
		s += fmt.Sprintf("  %d of %d files", c.Ended, c.Count)
	}
	if r.Job.Error != nil {
		s += "  " + r.Job.Error.Message
	}
	return s + "  " + string(r.Job.Result)
}
