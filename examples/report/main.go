// Command report is a worker whose handler writes a file that survives every crash. It takes the Redis of
// TIDEMARK_REDIS_URL, or that on 127.0.0.1:6379, and keeps files in ./report-data.
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"

	"gocloud.dev/blob/fileblob"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/worker"
)

type Report struct{ Lines int } // the payload of a job

// write goes on where the last checkpoint left both, the line and the file.
func write(ctx context.Context, run *worker.Run, todo Report) error {
	line := 0
	_, stale := run.Resume(&line)
	out, err := run.Artifact(ctx, "report.csv", worker.ArtifactOptions{FromStart: stale != nil})
	for ; err == nil && line < todo.Lines; line++ {
		_, err = fmt.Fprintf(out, "%d,%d\n", line, line*line)
		run.Progress(int64(line+1), int64(todo.Lines))
		if run.CheckpointDue() {
			err = errors.Join(err, run.Checkpoint(line+1), context.Cause(ctx))
		}
	}
	if err == nil {
		err = out.Close() // it is visible from here on, whole
	}
	return err
}

func serve(ctx context.Context, url, folder string, o worker.Options) (err error) {
	if o.Engine, err = engine.Open(ctx, engine.Options{URL: url}); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, o.Engine.Close()) }()
	files := &fileblob.Options{CreateDir: true, NoTempDir: true, Metadata: fileblob.MetadataDontWrite}
	if o.Blobs, err = fileblob.OpenBucket(folder, files); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, o.Blobs.Close()) }()
	w, err := worker.New(o)
	if err != nil {
		return err
	}
	worker.Handle(w, "report", write)
	return w.Run(ctx)
}

func main() {
	o := worker.Options{Queues: []string{"reports"}}
	log.Fatal(serve(context.Background(), os.Getenv("TIDEMARK_REDIS_URL"), "report-data", o))
}
