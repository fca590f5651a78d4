package upload

import (
	"context"
	"io"

	"gocloud.dev/blob"

	"github.com/tidemark-dev/tidemark/internal/blobs"
	"github.com/tidemark-dev/tidemark/worker"
	"github.com/tidemark-dev/tidemark/worker/internal/table"
)

// JobType is the type of the jobs that Register handles; their payload is a Payload.
const JobType = "upload"

// stages weighs the parts of a run: reading the file is nearly all of it.
var stages = []worker.Stage{{Name: StageRead, Weight: 90}, {Name: StageKeep, Weight: 10}}

// Register makes w make datasets of the blobs of bucket. Of uploads and datasets, a job's payload may name those
// of its own topic, and it may name no artifact. Call it before w is started; the bucket must stay open until w
// has stopped. Errors that no retry can mend end their job at once, unless o.Permanent says otherwise. It
// panics, as worker.Handle does, when w has a handler of JobType.
func Register(w *worker.Worker, bucket *blob.Bucket, o Options) {
	if o.Permanent == nil {
		o.Permanent = worker.Permanent
	}
	worker.Handle(w, JobType, func(ctx context.Context, run *worker.Run, p Payload) error {
		run.Stages(stages...)
		if err := blobs.Readable(p.Blob, run.Topic()); err != nil {
			return o.Permanent(table.Refuse("The blob that the job's payload names cannot be read: %w.", err))
		}
		return Run(ctx, artifactRun{run}, bucket, p, o)
	})
}

// An artifactRun is a worker's run, which opens artifacts.
type artifactRun struct{ *worker.Run }

// Open implements Reporter.
func (r artifactRun) Open(ctx context.Context, name string, fromStart bool) (io.WriteCloser, error) {
	return r.Artifact(ctx, name, worker.ArtifactOptions{Type: "application/x-ndjson", FromStart: fromStart})
}
