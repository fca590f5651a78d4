// Package api is what clients ask for over HTTP: jobs and what is asked of them, schedules,
// snapshots, artifacts, watched downloads of them, and datasets. docs/protocol.md is what they are promised.
package api

import (
	"context"
	"log/slog"
	"time"

	"gocloud.dev/blob"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/engine/runtime"
	"github.com/tidemark-dev/tidemark/engine/stream"
	"github.com/tidemark-dev/tidemark/engine/wire"
	"github.com/tidemark-dev/tidemark/gateway/internal/access"
	"github.com/tidemark-dev/tidemark/gateway/internal/problem"
)

// Options say what a Server answers from. All fields but Blobs, Allowed and Revoke are required.
type Options struct {
	Engine *engine.Engine
	// Blobs holds uploads and artifacts; nil: there are none.
	Blobs *blob.Bucket
	// UploadOf returns the job for which the file was uploaded that a job works on; "" for none.
	UploadOf func(context.Context, engine.JobID) (engine.JobID, error)
	// Removed reports whether a job was removed of which Redis has no record.
	Removed func(context.Context, engine.JobID) (bool, error)
	// Clean deletes the files of jobs that were removed. It logs what it could not do, and does
	// that later.
	Clean func(context.Context)
	// Allowed is which jobs users may make; nil: none but admins do.
	Allowed access.Allowance
	// Revoke revokes credentials on all gateways; nil: there are none.
	Revoke func(context.Context, wire.Revocation) (wire.Revocation, error)
	// StallTimeout is how long the reader of an artifact may take nothing.
	StallTimeout time.Duration
	// DownloadLease is for how long a watched download may have nothing written.
	DownloadLease time.Duration
	Problems      *problem.Writer
	Logger        *slog.Logger
}

// A Server answers requests.
type Server struct {
	opts    Options
	stream  *stream.Stream
	runtime *runtime.Runtime
	late    lateReports
}

// New makes a Server.
func New(o Options) *Server {
	return &Server{opts: o, stream: stream.Of(o.Engine), runtime: runtime.Of(o.Engine)}
}

// filtered are the parameters of a request that a filter goes with.
func filtered(others ...string) []string { return append(others, wire.FilterParameters...) }

// Routes are the addresses. The query parameters that a request may have stand with each.
func (s *Server) Routes() []access.Route {
	var all []access.Route
	add := func(pattern string, h access.Handler, params ...string) {
		all = append(all, access.Route{Pattern: pattern, Handler: access.Taking(h, params...)})
	}
	add("POST /v1/jobs", s.enqueueJob)
	add("GET /v1/jobs", s.listJobs, filtered("topic", "after", "limit")...)
	add("GET /v1/jobs/{id}", s.showJob)
	add("DELETE /v1/jobs/{id}", s.removeJob)
	add("POST /v1/jobs/{id}/cancel", s.controlJob(s.opts.Engine.Cancel))
	add("POST /v1/jobs/{id}/pause", s.controlJob(s.opts.Engine.Pause))
	add("POST /v1/jobs/{id}/resume", s.controlJob(s.opts.Engine.Resume))
	add("POST /v1/jobs/{id}/retry", s.retryJob)
	add("GET /v1/datasets", s.listDatasets, "topic", "after", "limit")
	add("GET /v1/datasets/{id}", s.showDataset, "topic")
	add("DELETE /v1/datasets/{id}", s.deleteDataset, "topic")
	add("GET /v1/queues", s.listQueues, "job"+access.Repeated)
	add("GET /v1/topics/{topic}/snapshot", s.showSnapshot, filtered("after", "limit", "page")...)
	add("GET /v1/topics/{topic}/schedules", s.listSchedules)
	add("PUT /v1/topics/{topic}/schedules/{name}", s.putSchedule)
	add("DELETE /v1/topics/{topic}/schedules/{name}", s.deleteSchedule)
	add("DELETE /v1/session", s.logOut)
	add("POST /v1/kick", s.kick)
	add("POST /v1/artifacts/{id}/downloads", s.startDownload)
	add("GET /v1/downloads", s.listDownloads)
	add("GET /v1/downloads/{id}", s.showDownload)
	add("DELETE /v1/downloads/{id}", s.cancelDownload)
	return append(all,
		access.Route{Pattern: "GET /v1/jobs/{id}/upload", Handler: access.Taking(s.showUpload), Kind: access.Download, Long: true},
		access.Route{Pattern: "GET /v1/artifacts/{id}", Handler: access.Taking(s.showArtifact, "download"), Kind: access.Download, Long: true},
	)
}
