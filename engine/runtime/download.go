package runtime

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tidemark-dev/tidemark/engine/internal/ground"
	"github.com/tidemark-dev/tidemark/engine/wire"
)

// lapsedAtOnce bounds the downloads that one call of the script ends.
const lapsedAtOnce = 100

// BeginDownload begins a watched download of an artifact for a user, who is named by a subject of package
// auth. until is when the artifact expires; zero: not. The download is aborted once no Downloaded has
// come for a lease. Errors to branch on: ErrLimit where MaxDownloads of the user's are running,
// ErrUnreachable, ErrOutOfMemory.
func (rt *Runtime) BeginDownload(ctx context.Context, topic wire.Topic, a wire.Artifact, subject string, until time.Time, lease time.Duration) (wire.Download, error) {
	ends := int64(0)
	if !until.IsZero() {
		ends = until.UnixMilli()
	}
	reply, err := rt.download(ctx, "begin", rand.Text(), owner(subject), string(topic), a.ID, a.Size, ends, lease.Milliseconds())
	if err != nil {
		return wire.Download{}, fmt.Errorf("begin a download of %s: %w", a.ID, err)
	}
	if reply == "full" {
		return wire.Download{}, fmt.Errorf("%w: %d downloads of yours are running; wait for one, or cancel one", wire.ErrLimit, wire.MaxDownloads)
	}
	d, _, err := rt.changed(ctx, reply)
	return d, err
}

// Download reads a user's watched download. Its error wraps ErrNotFound, also for another user's, or
// ErrUnreachable.
func (rt *Runtime) Download(ctx context.Context, id, subject string) (wire.Download, error) {
	if !downloadID(id) {
		return wire.Download{}, fmt.Errorf("download: %w", wire.ErrNotFound)
	}
	h, err := rt.g.Redis.HGetAll(ctx, rt.g.Keys.Download(id)).Result()
	if err != nil {
		return wire.Download{}, ground.Failure("read a download", err)
	}
	if len(h) == 0 || h["ow"] != owner(subject) {
		return wire.Download{}, fmt.Errorf("download: %w", wire.ErrNotFound)
	}
	return readDownload(h), nil
}

// Downloads reads a user's watched downloads that are running, in no order. Its error wraps ErrUnreachable.
func (rt *Runtime) Downloads(ctx context.Context, subject string) ([]wire.Download, error) {
	ids, err := rt.g.Redis.ZRange(ctx, rt.g.Keys.Downloads(owner(subject)), 0, -1).Result()
	if err != nil {
		return nil, ground.Failure("list downloads", err)
	}
	pipe := rt.g.Redis.Pipeline()
	cmds := make([]*redis.MapStringStringCmd, len(ids))
	for i, id := range ids {
		cmds[i] = pipe.HGetAll(ctx, rt.g.Keys.Download(id))
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return nil, ground.Failure("list downloads", err)
	}
	all := make([]wire.Download, 0, len(ids))
	for _, c := range cmds {
		if h := c.Val(); len(h) > 0 {
			all = append(all, readDownload(h))
		}
	}
	return all, nil
}

// A Writing is what one request has written of a watched download: the bytes from From to before To.
type Writing struct {
	Request  string // its name, of letters and digits; another one's differs
	From, To int64
	// Final says that the request has ended. One that never says so was its gateway's that was lost:
	// where another request began behind To, what is between was written.
	Final bool
	// Unsure is of a Final one, in bytes: how much behind To it may have written too. Where another
	// request began no further than that behind To, what is between was written.
	Unsure int64
}

// Downloaded adds what a request has written to a running download, and renews its lease. Any number of
// gateways may call it, with ranges that overlap. It publishes a record of the download's end, and at
// most one tick an interval; pending says that what is new has no record yet. A download that has ended
// stays as it is. Its error wraps ErrNotFound or ErrUnreachable.
func (rt *Runtime) Downloaded(ctx context.Context, id string, w Writing, lease, interval time.Duration) (d wire.Download, pending bool, err error) {
	reply, err := rt.download(ctx, "add", id, w.Request, w.From, w.To, w.Final, w.Unsure, lease.Milliseconds(), interval.Milliseconds())
	if err != nil {
		return wire.Download{}, false, fmt.Errorf("count a download: %w", err)
	}
	return rt.changed(ctx, reply)
}

// AbortDownload ends a running download. One that has ended stays as it is. Its error wraps ErrNotFound
// or ErrUnreachable.
func (rt *Runtime) AbortDownload(ctx context.Context, id, reason string) (wire.Download, error) {
	reply, err := rt.download(ctx, "abort", id, reason)
	if err != nil {
		return wire.Download{}, fmt.Errorf("abort a download: %w", err)
	}
	d, _, err := rt.changed(ctx, reply)
	return d, err
}

// LapseDownloads ends running downloads whose lease or time is over: they are aborted, or completed where
// only reports of a lost gateway are missing. Any process may call it at any
// time. Its error wraps ErrUnreachable.
func (rt *Runtime) LapseDownloads(ctx context.Context) error {
	for {
		reply, err := rt.download(ctx, "lapse", lapsedAtOnce)
		if err != nil {
			return fmt.Errorf("abort downloads: %w", err)
		}
		over, _ := reply.([]any)
		for _, one := range over {
			if _, _, err := rt.changed(ctx, one); err != nil {
				return err
			}
		}
		if len(over) < lapsedAtOnce {
			return nil
		}
	}
}

// PingDownloads asks the node that has the downloads, which in a Cluster is one of several, whether it is there. Its
// error wraps ErrUnreachable.
func (rt *Runtime) PingDownloads(ctx context.Context) error {
	if _, err := rt.download(ctx, "lapse", 0); err != nil {
		return fmt.Errorf("ask for downloads: %w", err)
	}
	return nil
}

func (rt *Runtime) download(ctx context.Context, args ...any) (any, error) {
	reply, err := rt.g.Scripts.Download.Run(ctx, rt.g.Redis, rt.g.Keys.DownloadScript(), args...).Result()
	return reply, ground.Failure("ask Redis", err)
}

// changed reads the script's answer about one download, and publishes the record that is due. A record
// that cannot be published is lost, as passing records are: the download is in Redis.
func (rt *Runtime) changed(ctx context.Context, reply any) (d wire.Download, pending bool, err error) {
	answer, _ := reply.([]any)
	if len(answer) < 2 {
		return wire.Download{}, false, fmt.Errorf("download: %w", wire.ErrNotFound)
	}
	h := hashOf(answer[1])
	d = readDownload(h)
	if answer[0] != "1" {
		told, _ := strconv.ParseInt(h["tn"], 10, 64)
		return d, d.State == wire.DownloadStateRunning && d.Done > told, nil
	}
	kind := wire.DownloadProgress
	switch {
	case d.State == wire.DownloadStateCompleted:
		kind = wire.DownloadCompleted
	case d.State == wire.DownloadStateAborted:
		kind = wire.DownloadAborted
	case d.Rev == 1:
		kind = wire.DownloadStarted
	}
	body, err := json.Marshal(d)
	if err != nil {
		return d, false, err
	}
	o := operation{kind: kind, topic: d.Topic, attempt: -1, passing: true, extra: `,"download":` + string(body)}
	if _, err := rt.operate(ctx, o); err != nil {
		rt.g.Opts.Logger.Debug("a record of a download is lost", "error", err)
	}
	return d, false, nil
}

// hashOf is a hash as a script returns it: with RESP 3 too, since a script's table is a list.
func hashOf(reply any) map[string]string {
	list, _ := reply.([]any)
	h := make(map[string]string, len(list)/2)
	for i := 0; i+1 < len(list); i += 2 {
		h[ground.Text(list[i])] = ground.Text(list[i+1])
	}
	return h
}

func readDownload(h map[string]string) wire.Download {
	number := func(name string) int64 {
		n, _ := strconv.ParseInt(h[name], 10, 64) // the script writes whole numbers
		return n
	}
	at := func(name string) time.Time {
		if h[name] == "" {
			return time.Time{}
		}
		return time.UnixMilli(number(name)).UTC()
	}
	return wire.Download{
		ID: h["id"], Rev: number("rev"), Topic: wire.Topic(h["t"]), Artifact: h["a"], Size: number("sz"), Done: number("n"),
		State: wire.DownloadState(h["st"]), Reason: h["why"], CreatedAt: at("cr"), EndedAt: at("en"), ExpiresAt: at("ex"),
	}
}

// owner is what Redis keeps of a user: enough to tell users apart, and not who they are.
func owner(subject string) string {
	sum := sha256.Sum256([]byte("download " + subject))
	return hex.EncodeToString(sum[:16])
}

// downloadID reports whether id has the form of rand.Text. No other text becomes a part of a key.
func downloadID(id string) bool {
	return len(id) == 26 && strings.Trim(id, "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567") == ""
}
