package gateway_test

import (
	"bytes"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/engine/runtime"
	"github.com/tidemark-dev/tidemark/gateway"
	"github.com/tidemark-dev/tidemark/gateway/auth"
	"github.com/tidemark-dev/tidemark/internal/s3test"
	"github.com/tidemark-dev/tidemark/internal/storage"
)

// newBucketDepot is a bucket of S3 that gateways share, and its server. Its folder is the server's.
func newBucketDepot(t *testing.T) (*depot, *s3test.Server) {
	t.Helper()
	server := s3test.Start(t)
	store, err := storage.Open(t.Context(), storage.Options{URL: server.URL(), CredentialsFile: server.CredentialsFile()}, "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	return &depot{server.Dir, store.Bucket}, server
}

// inBucket has a gateway use the bucket.
func inBucket(change func(*gateway.Options)) func(*gateway.Options) {
	return func(o *gateway.Options) {
		o.BlobDir, o.BlobBucket = "", s3test.Bucket
		if change != nil {
			change(o)
		}
	}
}

// left lists what the bucket has of uploads, their bytes included, in folders of the given names.
func (d *depot) left(t *testing.T, folders ...string) []string {
	t.Helper()
	var all []string
	for _, f := range folders {
		names, err := filepath.Glob(filepath.Join(d.dir, "incoming", f, "*"))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, names...)
	}
	return all
}

// An upload alternates between two gateways, by pieces that are less than a part and more, and is
// one blob.
func TestUploadAlternatesBetweenGatewaysOfABucket(t *testing.T) {
	e := real(t)
	store, _ := newBucketDepot(t)
	gateways := []*server{store.serve(t, e, inBucket(nil)), store.serve(t, e, inBucket(nil))}
	file := csv(18 << 20)
	job := gateways[0].announce(t, len(file))
	at := 0
	for i, n := range []int{100, 1 << 20, 9 << 20, 3 << 20, len(file)} {
		s, end := gateways[i%2], min(at+n, len(file))
		if got := s.offset(t, job); got != at {
			t.Fatalf("the offset is %d, want %d", got, at)
		}
		if a := s.patch(t, job, at, file[at:end]); a.status != http.StatusNoContent {
			t.Fatalf("patch: %+v", a)
		}
		at = end
	}
	inState(t, e, job, engine.Queued)
	got, err := store.blobs.ReadAll(soon(t), "incoming/"+string(topic)+"/"+string(job))
	if err != nil || !bytes.Equal(got, file) {
		t.Errorf("the blob has %d bytes, want %d: %v", len(got), len(file), err)
	}
	if n := gateways[1].offset(t, job); n != len(file) {
		t.Errorf("the offset of a settled one is %d", n)
	}
	if left := store.left(t, ".uploads/open", ".uploads/tails/"+string(job)); len(left) > 0 || !there(store.ticket("settled", job)) {
		t.Errorf("beside the blob there is %q", left)
	}
	historyOf(t, e, job)
}

func TestBucketBytesAreWhereTheBlobStoreLooks(t *testing.T) {
	e := real(t)
	store, _ := newBucketDepot(t)
	s := store.serve(t, e, inBucket(func(o *gateway.Options) { o.Auth = auth.Dev{} }))
	for _, odd := range oddTopics {
		a := s.tus(t, http.MethodPost, "/v1/uploads", []byte("text"), "Upload-Length", "4",
			"Upload-Metadata", metadata("topic", odd, "type", "analysis"), "Content-Type", "application/offset+octet-stream")
		job, ok := strings.CutPrefix(a.header.Get("Location"), "/v1/uploads/")
		if a.status != http.StatusCreated || !ok {
			t.Fatalf("announce for %s: %+v", odd, a)
		}
		if got, err := store.blobs.ReadAll(soon(t), "incoming/"+odd+"/"+job); string(got) != "text" || err != nil {
			t.Errorf("the blob of topic %s is %q, %v", odd, got, err)
		}
	}
}

// A client comes back to another gateway, while the first has not noticed that it went: what has come
// there is kept.
func TestTakingABucketUploadOver(t *testing.T) {
	e := real(t)
	store, server := newBucketDepot(t)
	one, other := store.serve(t, e, inBucket(nil)), store.serve(t, e, inBucket(nil))
	file := csv(10 << 10)
	job := one.announce(t, len(file))
	st := one.sending(t, job, 0, len(file))
	st.send(file[:2000])
	eventually(t, "the bar to show them", func() bool { return view(t, e, job).Percent > 0 })
	if n := other.offset(t, job); n != 2000 {
		t.Fatalf("the offset is %d", n)
	}
	if said := st.answer(); !strings.HasPrefix(said, "HTTP/1.1 409") || !strings.Contains(said, "upload_interrupted") {
		t.Errorf("the request that was given up is answered %q", said)
	}
	// The store is away, and comes back.
	away := server.Fail(s3test.Fault{Status: http.StatusServiceUnavailable, Code: "ServiceUnavailable"})
	var asked sync.WaitGroup
	for what, ask := range map[string]func() answer{
		"head":  func() answer { return other.tus(t, http.MethodHead, "/v1/uploads/"+string(job), nil) },
		"patch": func() answer { return one.patch(t, job, 2000, file[2000:]) },
		"list of datasets": func() answer {
			return one.tus(t, http.MethodGet, "/v1/datasets?topic="+string(topic), nil)
		},
		"announcement": func() answer {
			return one.tus(t, http.MethodPost, "/v1/uploads", nil, "Upload-Length", "4", "Upload-Metadata", metadata("topic", string(topic), "type", "analysis"))
		},
	} {
		asked.Go(func() {
			a := ask()
			a.is(t, what, http.StatusServiceUnavailable, "storage_unavailable")
			if a.header.Get("Retry-After") == "" {
				t.Errorf("%s does not say when to come back", what)
			}
		})
	}
	asked.Wait()
	away()
	full := server.Fail(s3test.Fault{Op: "PutObject", Key: "/tails/", Status: http.StatusConflict, Code: "QuotaExceeded"})
	one.patch(t, job, 2000, file[2000:3000]).is(t, "patch of a full bucket", http.StatusInsufficientStorage, "disk_full")
	full()
	if a := one.patch(t, job, one.offset(t, job), file[2000:]); a.status != http.StatusNoContent {
		t.Errorf("patch: %+v", a)
	}
	inState(t, e, job, engine.Queued)
}

func TestBucketUploadsOfOthers(t *testing.T) {
	e := real(t)
	store, _ := newBucketDepot(t)
	s := store.serve(t, e, inBucket(nil))
	job := s.announce(t, 1000)
	never, err := runtime.Of(e).NewJobID(topic)
	if err != nil {
		t.Fatal(err)
	}
	for _, method := range []string{http.MethodHead, http.MethodPatch, http.MethodDelete} {
		var bodies []string
		for who, id := range map[string]engine.JobID{"bob": job, "carol": job, "alice": never} {
			a := s.tus(t, method, "/v1/uploads/"+string(id), []byte("x"), "X-Who", who, "Upload-Offset", "0", "Content-Type", "application/offset+octet-stream")
			a.is(t, method+" of "+who, http.StatusNotFound, "not_found")
			if bodies = append(bodies, a.body); a.body != bodies[0] {
				t.Errorf("%s tells more: %s", method, a.body)
			}
		}
	}
	if n := s.offset(t, job); n != 0 {
		t.Errorf("an intruder wrote %d bytes", n)
	}
}

// A body that is longer than its upload said leaves nothing, also where parts of it were sent to the store.
func TestBucketBodiesLongerThanTheUpload(t *testing.T) {
	e := real(t)
	store, _ := newBucketDepot(t)
	s := store.serve(t, e, inBucket(nil))
	file := csv(9 << 20)
	job := s.announce(t, len(file))
	s.patch(t, job, 0, file[:100])
	s.chunked(t, http.MethodPatch, "/v1/uploads/"+string(job), append(bytes.Clone(file[100:]), "more"...), "Upload-Offset", "100",
		"Content-Type", "application/offset+octet-stream").is(t, "a longer body", http.StatusRequestEntityTooLarge, "too_large")
	s.stands(t, e, store, job, 100)
	s.patch(t, job, 100, file[100:])
	if got, err := store.blobs.ReadAll(soon(t), "incoming/"+string(topic)+"/"+string(job)); err != nil || !bytes.Equal(got, file) {
		t.Errorf("the blob has %d bytes, want %d: %v", len(got), len(file), err)
	}
}

// What a lost gateway leaves: an upload that is complete and not queued, one that nobody goes on with, and a hold. Another
// gateway sees to them.
func TestSweepOfABucket(t *testing.T) {
	e := real(t)
	store, server := newBucketDepot(t)
	one := store.serve(t, e, inBucket(func(o *gateway.Options) { o.SweepInterval = time.Hour }))
	file := csv(10 << 10)
	big := csv(9 << 20)
	idle, whole, canceled := one.announce(t, len(file)), one.announce(t, len(file)), one.announce(t, len(big))
	one.patch(t, idle, 0, file[:100])
	one.patch(t, canceled, 0, big[:len(big)-1]) // a part, and a tail
	refuse := server.Fail(s3test.Fault{Op: "CompleteMultipartUpload", Status: http.StatusForbidden, Code: "AccessDenied"})
	one.patch(t, whole, 0, file).is(t, "patch", http.StatusServiceUnavailable, "storage_unavailable")
	if n := one.offset(t, whole); n != len(file) {
		t.Errorf("the offset is %d", n)
	}
	refuse()
	if a := one.tus(t, http.MethodDelete, "/v1/uploads/"+string(canceled), nil); a.status != http.StatusNoContent {
		t.Errorf("delete: %+v", a)
	}
	one.tus(t, http.MethodHead, "/v1/uploads/"+string(canceled), nil).is(t, "head of a deleted one", http.StatusGone, "upload_gone")
	client, name := (*s3.Client)(nil), s3test.Bucket
	if !store.blobs.As(&client) {
		t.Fatal("the bucket has no client")
	}
	if out, err := client.ListMultipartUploads(soon(t), &s3.ListMultipartUploadsInput{Bucket: &name}); err != nil || len(out.Uploads) != 1 {
		t.Errorf("there are %d multipart uploads, want that of %s alone: %v", len(out.Uploads), whole, err)
	}
	other := store.serve(t, e, inBucket(func(o *gateway.Options) { o.UploadIdle = time.Second }))
	inState(t, e, whole, engine.Queued)
	inState(t, e, idle, engine.Failed)
	eventually(t, "all to be settled", func() bool { return len(store.left(t, ".uploads/open")) == 0 })
	if left := store.left(t, ".uploads/tails/*", string(topic)); len(left) != 1 || filepath.Base(left[0]) != string(whole) {
		t.Errorf("there is %q, want the bytes of %s alone", left, whole)
	}
	other.tus(t, http.MethodHead, "/v1/uploads/"+string(idle), nil).is(t, "head of an expired one", http.StatusGone, "upload_gone")

	// Long after its job is gone.
	if err := e.Redis().Del(soon(t), lastNamespace()+":{"+string(whole[:2])+"}:j:"+string(whole)).Err(); err != nil {
		t.Fatal(err)
	}
	long := time.Now().Add(runtime.Of(e).Retention() + 25*time.Hour)
	one.SweepAt(soon(t), long)
	one.SweepAt(soon(t), long.Add(23*time.Hour))
	if !there(store.ticket("orphaned", whole)) || !there(store.data(whole)) {
		t.Error("an upload without a job goes at once")
	}
	one.SweepAt(soon(t), long.Add(25*time.Hour))
	if there(store.ticket("orphaned", whole)) || there(store.data(whole)) {
		t.Error("an upload without a job stays")
	}
}

func TestLargestUploadOfABucket(t *testing.T) {
	e := real(t)
	store, _ := newBucketDepot(t)
	_, err := gateway.New(gateway.Options{Engine: e, Logger: quiet(), Blobs: store.blobs, BlobBucket: s3test.Bucket, UploadBytes: 1 << 40})
	if !errors.Is(err, engine.ErrInvalid) || !strings.Contains(err.Error(), "UploadBytes") || !strings.Contains(err.Error(), "603979776000") {
		t.Errorf("a bound beyond the bucket's: %v", err)
	}
	if _, err := os.Stat(filepath.Join(store.dir, "probes")); err == nil && len(store.left(t, "../probes")) > 0 {
		t.Error("a check leaves objects")
	}
}
