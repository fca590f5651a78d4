package gateway

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"gocloud.dev/blob"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/gateway/auth"
	"github.com/tidemark-dev/tidemark/internal/logline"
	"github.com/tidemark-dev/tidemark/internal/option"
)

// Options say what a Gateway serves and what a client may cost it. Only Engine is
// required; every other field's zero value means its default.
type Options struct {
	// Engine is the gateway's access to jobs and topics. Required. It must stay open
	// until Stop has returned.
	Engine *engine.Engine

	// Auth says who sends a request. It must stay open until Stop has returned. Defaults to
	// auth.Dev, which makes everybody an admin.
	Auth auth.Authenticator

	// Site is what is served where: addresses, hosts, and the sites whose pages may ask. The
	// zero value is this machine alone; auth.Dev takes no other.
	Site auth.Site

	// EnqueueTypes are the job types that principals may enqueue who are no admins, with POST /v1/jobs,
	// retries, schedules and uploads; at most 1,000. Defaults to none: such principals enqueue nothing.
	EnqueueTypes []EnqueueType

	// ConnectionsPerPrincipal is how many WebSockets, event streams and long polls one
	// principal may have open, 1 to 1,000,000; one more is closed with 4409, or told to come back. Defaults to 1,000.
	ConnectionsPerPrincipal int

	// SubscriptionsPerConnection is how many subscriptions one WebSocket carries at a
	// time, 1 to 10,000; one more is answered with an error. Defaults to 200.
	SubscriptionsPerConnection int

	// StreamsPerCredential is how many event streams and long polls one credential, or one
	// principal without one, may have at a time, 1 to 1,000,000. A browser that speaks HTTP/1.1
	// has six connections to a gateway for all its tabs. Defaults to 4.
	StreamsPerCredential int

	// MessageBytes is the longest message that a client may send, 1 KiB to 1 MiB; a
	// longer one closes its connection with 1009. Defaults to 16 KiB.
	MessageBytes int

	// MessagesPerSecond is how many messages a client may send over time, 1 to
	// 10,000, and MessageBurst how many at once, 1 to 100,000; more close its
	// connection with 4429. Each frame counts: control frames and fragments too. Default to 20, and to 100 above
	// SubscriptionsPerConnection, so that a client may subscribe to everything at
	// once.
	MessagesPerSecond int
	MessageBurst      int

	// WindowFrames and WindowBytes bound what waits in memory for one socket, 2 to
	// 1,024 frames and 64 KiB to 16 MiB; one frame may be the last to exceed the
	// bytes. Records beyond that stay in the topic's stream. Default to 16 and 128
	// KiB.
	WindowFrames int
	WindowBytes  int

	// SendBufferBytes is the kernel's send buffer of a socket, 4 KiB to 4 MiB: what a
	// client that reads nothing swallows before the window fills. The kernel may
	// double it. Defaults to 64 KiB.
	SendBufferBytes int

	// PingInterval is the time between the server's pings, and PongTimeout how long
	// the answer may take, 10 ms to 10 minutes each. Default to 25 and 5 seconds.
	PingInterval time.Duration
	PongTimeout  time.Duration

	// StallTimeout is how long a socket may take nothing, and an upload bring nothing,
	// before it is ended, 10 ms to 10 minutes; a socket may have a sixteenth more. Its
	// client resumes by its cursor, or at the upload's offset. Defaults to 30 seconds.
	StallTimeout time.Duration

	// ControlTimeout is how long the gateway goes on while Redis does not say which credentials are revoked, 1 s to
	// 1 m. Then the gateway ends all connections and downloads, and refuses everybody, until Redis says it again; uploads
	// that are under way go on. It is not for auth.Dev. Defaults to 5 seconds.
	ControlTimeout time.Duration
	// AuthTimeout is how long a WebSocket that came without credentials may take to
	// send its auth frame, and Auth to check some, 10 ms to 1 minute. Defaults to 5 seconds.
	AuthTimeout time.Duration

	// FilterLag is how far behind the cursor of a subscription to one job may be
	// while only other jobs' records come, 10 ms to 1 minute. Defaults to 4 seconds.
	FilterLag time.Duration

	// RequestTimeout is how long a request other than a WebSocket or an event stream may take, body
	// included, 100 ms to 10 minutes. Defaults to 15 seconds.
	RequestTimeout time.Duration

	// CatchUps is how many pages and snapshots are read from Redis at a time, 1 to
	// 1,024. Defaults to 8.
	CatchUps int

	// DrainTimeout is how long Stop waits for clients that were said goodbye, 10 ms
	// to 10 minutes. Defaults to 5 seconds.
	DrainTimeout time.Duration

	// ReconnectSpread is the least time over which clients that are said goodbye are
	// asked to come back, 10 ms to 10 minutes. It grows by a second for every 1,000
	// connections. Defaults to 2 seconds.
	ReconnectSpread time.Duration

	// Blobs holds what jobs read and write: artifacts are read from it, and uploads
	// written into it. Without one the gateway has neither.
	Blobs *blob.Bucket

	// BlobDir is the local folder in which Blobs keeps its blobs. Uploads are written
	// there, since their parts arrive one after the other.
	BlobDir string

	// BlobBucket is the name of the bucket of S3 that Blobs is, which must have conditional writes;
	// "" for a folder. Without BlobDir and BlobBucket, or without Blobs, there are no uploads.
	BlobBucket string

	// BlobsReady says why the store behind Blobs does not answer, for /readyz; nil if it does. It
	// must return within seconds, and cost the store little. Defaults to nil: it is not asked.
	BlobsReady func(context.Context) error

	// UploadBytes is the largest upload, 1 KiB to 5 TiB, in a bucket of S3 to 562.5 GiB. Defaults to
	// 5 GiB.
	UploadBytes int64

	// UploadsPerPrincipal is how many uploads one principal may have announced and not
	// finished, 1 to 100,000. Defaults to 100.
	UploadsPerPrincipal int

	// UploadIdle is how long an upload may receive nothing before its job fails, 1
	// second to 30 days. Defaults to 24 hours.
	UploadIdle time.Duration

	// ReceiveShare is how much of an uploaded job's bar its arrival fills, in percent,
	// 1 to 90. Defaults to 50.
	ReceiveShare int

	// SweepInterval is the time between two searches for uploads that are finished and
	// not queued, idle for too long, or of jobs that are gone, 10 ms to 1 hour. Defaults
	// to 10 seconds.
	SweepInterval time.Duration

	// DownloadLease is for how long a watched download may have nothing written before it is aborted, 1
	// second to 1 hour. Defaults to 1 minute.
	DownloadLease time.Duration

	// PageTopic is the topic that the page shows when its address names none. Defaults
	// to user:demo.
	PageTopic engine.Topic

	// PageUploads are the job types that the page offers for files. A file goes to the first that
	// has its extension, or else to the first of all. None: the page takes no files.
	PageUploads []PageUpload

	// Registry takes the gateway's metrics, and is what /metrics shows. Defaults to
	// one of the gateway's own.
	Registry *prometheus.Registry

	// Logger gets what no client can be shown, at most 16 KiB of text a line. Defaults to
	// slog.Default().
	Logger *slog.Logger
}

// A PageUpload is a job type that the page offers for files.
type PageUpload struct {
	Type string `json:"type"`
	// Extensions are those of the files that it reads, such as ".csv", in lower case.
	Extensions []string `json:"extensions,omitempty"`
}

// Defaults returns o with every zero field set to its default.
func (o Options) Defaults() Options {
	if o.Auth == nil {
		o.Auth = auth.Dev{}
	}
	option.Default(&o.ConnectionsPerPrincipal, 1000)
	option.Default(&o.SubscriptionsPerConnection, 200)
	option.Default(&o.StreamsPerCredential, 4)
	option.Default(&o.MessageBytes, 16<<10)
	option.Default(&o.MessagesPerSecond, 20)
	option.Default(&o.MessageBurst, o.SubscriptionsPerConnection+100)
	option.Default(&o.WindowFrames, 16)
	option.Default(&o.WindowBytes, 128<<10)
	option.Default(&o.SendBufferBytes, 64<<10)
	option.Default(&o.PingInterval, 25*time.Second)
	option.Default(&o.PongTimeout, 5*time.Second)
	option.Default(&o.StallTimeout, 30*time.Second)
	option.Default(&o.AuthTimeout, 5*time.Second)
	option.Default(&o.ControlTimeout, 5*time.Second)
	option.Default(&o.FilterLag, 4*time.Second)
	option.Default(&o.RequestTimeout, 15*time.Second)
	option.Default(&o.CatchUps, 8)
	option.Default(&o.DrainTimeout, 5*time.Second)
	option.Default(&o.ReconnectSpread, 2*time.Second)
	option.Default(&o.UploadBytes, 5<<30)
	option.Default(&o.UploadsPerPrincipal, 100)
	option.Default(&o.UploadIdle, 24*time.Hour)
	option.Default(&o.ReceiveShare, 50)
	option.Default(&o.SweepInterval, 10*time.Second)
	option.Default(&o.DownloadLease, time.Minute)
	option.Default(&o.PageTopic, engine.Topic("user:"+auth.DevSubject))
	if o.Registry == nil {
		o.Registry = prometheus.NewRegistry()
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	o.Logger = logline.Bounded(o.Logger)
	return o
}

// Validate checks o as Defaults completes it, apart from Engine, which no file can
// name. Its error joins an *engine.OptionError for each field that is out of bounds, and
// wraps engine.ErrInvalid.
func (o Options) Validate() error {
	o = o.Defaults()
	const short, long = 10 * time.Millisecond, 10 * time.Minute
	_, site := o.Site.Protect()
	if site != nil {
		site = option.Invalid("Site", nil, "%v", site)
	}
	if _, dev := o.Auth.(auth.Dev); dev && o.Site.Public {
		site = errors.Join(site, option.Invalid("Site", nil, "auth.Dev asks for no credentials: want a site that is not public, or another authenticator"))
	}
	_, page := engine.ParseTopic(string(o.PageTopic))
	if page != nil {
		page = option.Invalid("PageTopic", string(o.PageTopic), "want %s", engine.TopicForm)
	}
	return errors.Join(
		site, page, validEnqueueTypes(o.EnqueueTypes),
		option.Within("ConnectionsPerPrincipal", o.ConnectionsPerPrincipal, 1, 1_000_000),
		option.Within("SubscriptionsPerConnection", o.SubscriptionsPerConnection, 1, 10_000),
		option.Within("StreamsPerCredential", o.StreamsPerCredential, 1, 1_000_000),
		option.Within("MessageBytes", o.MessageBytes, 1<<10, 1<<20),
		option.Within("MessagesPerSecond", o.MessagesPerSecond, 1, 10_000),
		option.Within("MessageBurst", o.MessageBurst, 1, 100_000),
		option.Within("WindowFrames", o.WindowFrames, 2, 1024),
		option.Within("WindowBytes", o.WindowBytes, 64<<10, 16<<20),
		option.Within("SendBufferBytes", o.SendBufferBytes, 4<<10, 4<<20),
		option.Within("PingInterval", o.PingInterval, short, long),
		option.Within("PongTimeout", o.PongTimeout, short, long),
		option.Within("StallTimeout", o.StallTimeout, short, long),
		option.Within("AuthTimeout", o.AuthTimeout, short, time.Minute),
		option.Within("ControlTimeout", o.ControlTimeout, time.Second, time.Minute),
		option.Within("FilterLag", o.FilterLag, short, time.Minute),
		option.Within("RequestTimeout", o.RequestTimeout, 100*time.Millisecond, long),
		option.Within("CatchUps", o.CatchUps, 1, 1024),
		option.Within("DrainTimeout", o.DrainTimeout, short, long),
		option.Within("ReconnectSpread", o.ReconnectSpread, short, long),
		option.Within("UploadBytes", o.UploadBytes, 1<<10, 5<<40),
		option.Within("UploadsPerPrincipal", o.UploadsPerPrincipal, 1, 100_000),
		option.Within("UploadIdle", o.UploadIdle, time.Second, 30*24*time.Hour),
		option.Within("ReceiveShare", o.ReceiveShare, 1, 90),
		option.Within("SweepInterval", o.SweepInterval, short, time.Hour),
		option.Within("DownloadLease", o.DownloadLease, time.Second, time.Hour),
	)
}
