package multipart

import (
	"context"
	"errors"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/tidemark-dev/tidemark/internal/logtest"
	"github.com/tidemark-dev/tidemark/internal/s3test"
)

// Pieces of all sizes, each at another process: what one has kept the next goes on from.
func TestAnyProcessGoesOn(t *testing.T) {
	t.Parallel()
	server := s3test.Start(t)
	all := []*Store{process(t, server), process(t, server)}
	want := noise(1, 19*mib+3)
	create(t, all[0], len(want))
	if err := all[1].Create(t.Context(), "one", target, 1, []byte(`{}`)); !errors.Is(err, fs.ErrExist) {
		t.Errorf("created twice: %v", err)
	}
	at := 0
	for i, n := range []int{1, 3 * mib, 5*mib - 1, 9 * mib, 0, len(want)} {
		end := min(at+n, len(want))
		add(t, all[i%2], want[at:end])
		if at = end; offset(t, all[1]) != int64(at) {
			t.Fatalf("after %d bytes the offset is %d", at, offset(t, all[1]))
		}
	}
	complete(t, server, all[0], want)
}

// The holder is frozen while it sends a part, and passed over. Its part arrives once the next holder has sent its
// own bytes, under the number that the part would have had.
func TestLatePartOfALostHolderChangesNothing(t *testing.T) {
	t.Parallel()
	server := s3test.Start(t)
	frozen, next := process(t, server), process(t, server)
	next.patience = 0
	want, other := noise(1, 17*mib), noise(2, 17*mib)
	create(t, frozen, len(want))
	add(t, frozen, want[:8*mib])

	h := lock(t, frozen)
	w := writer(t, h)
	came, goOn := held(server, "UploadPart")
	wrote := make(chan error, 1)
	go func() {
		_, err := w.Write(other[8*mib:])
		wrote <- err
	}()
	<-came
	add(t, next, want[8*mib:16*mib])
	goOn()
	if err := <-wrote; !errors.Is(err, ErrLost) {
		t.Errorf("the lost holder wrote: %v", err)
	}
	if n, err := w.Close(); n != 0 || !errors.Is(err, ErrLost) {
		t.Errorf("the lost holder has kept %d bytes: %v", n, err)
	}
	release(t, h)
	add(t, next, want[16*mib:])
	complete(t, server, next, want)
}

// A lost holder's tail and its Complete come late as well.
func TestLateTailOfALostHolderChangesNothing(t *testing.T) {
	t.Parallel()
	server := s3test.Start(t)
	frozen, next := process(t, server), process(t, server)
	next.patience = 0
	want := noise(1, 3*mib)
	create(t, frozen, len(want))
	h := lock(t, frozen)
	w := writer(t, h)
	if _, err := w.Write(noise(2, mib)); err != nil {
		t.Fatal(err)
	}
	came, goOn := held(server, "PutObject")
	closed := make(chan error, 1)
	go func() {
		_, err := w.Close()
		closed <- err
	}()
	<-came
	add(t, next, want[:2*mib])
	goOn()
	if err := <-closed; !errors.Is(err, ErrLost) {
		t.Errorf("the lost holder closed: %v", err)
	}
	add(t, next, want[2*mib:])
	complete(t, server, next, want)
}

// The answer to the write that names a tail is lost, and the next holder has the object before the write is repeated.
// The lost holder leaves the tail alone, since the next one goes on behind it.
func TestTailWhoseNamingHasNoAnswerStays(t *testing.T) {
	t.Parallel()
	server := s3test.Start(t)
	first, next := process(t, server), process(t, server)
	next.patience = 0
	want := noise(1, 3*mib)
	create(t, first, len(want))
	h := lock(t, first)
	w := writer(t, h)
	if _, err := w.Write(want[:mib]); err != nil {
		t.Fatal(err)
	}
	repeated, goOn := make(chan struct{}), make(chan struct{})
	server.Fail(s3test.Fault{Op: "PutObject", Key: "/open/", Times: 1, Lost: true})
	server.Fail(s3test.Fault{Op: "PutObject", Key: "/open/", Times: 1, Hold: func(*http.Request) {
		close(repeated)
		<-goOn
	}})
	closed := make(chan error, 1)
	go func() {
		_, err := w.Close()
		closed <- err
	}()
	<-repeated
	h = lock(t, next)
	close(goOn)
	if err := <-closed; !errors.Is(err, ErrLost) {
		t.Errorf("the lost holder closed: %v", err)
	}
	w = writer(t, h)
	if _, err := w.Write(want[mib:]); err != nil {
		t.Fatal(err)
	}
	if n, err := w.Close(); n != 2*mib || err != nil {
		t.Errorf("the next holder has kept %d bytes: %v", n, err)
	}
	release(t, h)
	complete(t, server, next, want)
}

// A holder that lives makes durable what has come, and gives way.
func TestHolderGivesWay(t *testing.T) {
	t.Parallel()
	server := s3test.Start(t)
	holder, next := process(t, server), process(t, server)
	next.patience = time.Hour
	want := noise(1, 2*mib)
	create(t, holder, len(want))
	h := lock(t, holder)
	w := writer(t, h)
	if _, err := w.Write(want[:mib]); err != nil {
		t.Fatal(err)
	}
	gave := make(chan error, 1)
	go func() {
		h.Watch(t.Context(), func() {
			_, err := w.Close()
			gave <- err
		})
	}()
	add(t, next, nil)
	if err := <-gave; err != nil {
		t.Fatal(err)
	}
	add(t, next, want[mib:])
	complete(t, server, next, want)
}

func TestFailingStoreCostsOnePart(t *testing.T) {
	t.Parallel()
	for name, f := range map[string]s3test.Fault{
		"500":      {Op: "UploadPart", Status: 500, Code: "InternalError"},
		"503":      {Op: "UploadPart", Status: 503, Code: "SlowDown"},
		"cut":      {Op: "UploadPart", CutBody: mib},
		"lost":     {Op: "UploadPart", Lost: true},
		"state":    {Op: "PutObject", After: 1, Status: 503, Code: "SlowDown"}, // after the lock
		"unstated": {Op: "PutObject", After: 1, Lost: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := s3test.Start(t)
			s := process(t, server)
			s.patience = 0
			want := noise(1, 9*mib)
			create(t, s, len(want))
			remove := server.Fail(f)
			h := lock(t, s)
			w := writer(t, h)
			if _, err := w.Write(want); err == nil || errors.Is(err, ErrLost) {
				t.Errorf("the store fails, and the writer says %v", err)
			}
			if n, err := w.Close(); err == nil || n != 0 {
				t.Errorf("%d bytes are kept, %v", n, err)
			}
			remove()
			release(t, h)
			st, err := s.Read(t.Context(), "one")
			if err != nil || st.Next < 2 || st.Held {
				t.Errorf("the next part has the number %d, which the first may still come with; held %v, %v", st.Next, st.Held, err)
			}
			add(t, s, want[st.Offset:])
			complete(t, server, s, want)
		})
	}
}

// The store makes the object and does not say so; then it has no such multipart upload.
func TestCompleteWhoseAnswersAreLost(t *testing.T) {
	t.Parallel()
	server := s3test.Start(t)
	s := process(t, server)
	want := noise(1, mib)
	create(t, s, len(want))
	add(t, s, want)
	remove := server.Fail(s3test.Fault{Op: "CompleteMultipartUpload", Lost: true})
	h := lock(t, s)
	if err := h.Complete(t.Context()); err != nil {
		t.Errorf("the object is complete, and Complete says %v", err)
	}
	remove()
	release(t, h)
	complete(t, server, s, want)
}

// Something deletes the multipart upload, as a rule of the bucket may: the object begins anew.
func TestVanishedPartsComeAgain(t *testing.T) {
	t.Parallel()
	server := s3test.Start(t)
	s := process(t, server)
	want := noise(1, 9*mib)
	create(t, s, len(want))
	add(t, s, want[:8*mib])
	st, err := s.Read(t.Context(), "one")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.abort(t.Context(), target, st.Upload); err != nil {
		t.Fatal(err)
	}
	h := lock(t, s)
	w := writer(t, h)
	if _, err := w.Write(want[8*mib:]); err != nil {
		t.Fatal(err)
	}
	if n, err := w.Close(); n != -8*mib || !errors.Is(err, ErrVanished) {
		t.Errorf("%d bytes came, %v", n, err)
	}
	release(t, h)
	add(t, s, want)
	complete(t, server, s, want)
}

func TestUndo(t *testing.T) {
	t.Parallel()
	server := s3test.Start(t)
	s := process(t, server)
	want := noise(1, 10*mib)
	create(t, s, len(want))
	add(t, s, want[:mib])
	h := lock(t, s)
	w := writer(t, h)
	if _, err := w.Write(noise(2, 8*mib)); err != nil {
		t.Fatal(err)
	}
	if err := w.Undo(); err != nil {
		t.Fatal(err)
	}
	if n, err := w.Close(); n != 0 || err != nil {
		t.Errorf("%d bytes are kept, %v", n, err)
	}
	release(t, h)
	add(t, s, want[mib:])
	complete(t, server, s, want)
}

// What no state names goes once it is old, and all else stays.
func TestSweep(t *testing.T) {
	t.Parallel()
	server := s3test.Start(t)
	s := process(t, server)
	want := noise(1, 10*mib)
	create(t, s, len(want))
	add(t, s, want[:9*mib])
	before := objects(t, server)
	began, err := s.client.CreateMultipartUpload(t.Context(), &s3.CreateMultipartUploadInput{Bucket: &s.bucket, Key: aws.String(target)})
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{dir + "/tails/one/0-x", dir + "/tails/two/1-y"} {
		if _, err := s.put(t.Context(), key, []byte("tail"), ""); err != nil {
			t.Fatal(err)
		}
	}
	uploads := func() int {
		out, err := s.client.ListMultipartUploads(t.Context(), &s3.ListMultipartUploadsInput{Bucket: &s.bucket})
		if err != nil {
			t.Fatal(err)
		}
		return len(out.Uploads)
	}
	nameOf := func(string) (string, bool) { return "one", true }
	if err := s.Sweep(t.Context(), "incoming/", time.Now().Add(-time.Hour), nameOf); err != nil {
		t.Fatal(err)
	}
	if n := len(objects(t, server)); n != len(before)+2 || uploads() != 2 {
		t.Errorf("young ones went: %d objects, %d multipart uploads", n, uploads())
	}
	if err := s.Sweep(t.Context(), "incoming/", time.Now().Add(time.Hour), nameOf); err != nil {
		t.Fatal(err)
	}
	if n := len(objects(t, server)); n != len(before) || uploads() != 1 {
		t.Errorf("%d objects and %d multipart uploads are left, want %d and 1", n, uploads(), len(before))
	}
	if err := s.abort(t.Context(), target, *began.UploadId); err != nil {
		t.Error(err)
	}
	add(t, s, want[9*mib:])
	complete(t, server, s, want)
}

// A writer that gets no memory keeps what it has.
func TestMemoryIsBounded(t *testing.T) {
	t.Parallel()
	server := s3test.Start(t)
	s := process(t, server)
	s.memory = newMemory(2 * blockBytes)
	s.memory.wait = time.Millisecond
	want := noise(1, mib)
	create(t, s, len(want))
	h := lock(t, s)
	w := writer(t, h)
	if n, err := w.Write(want); n != 2*blockBytes || !errors.Is(err, ErrBusy) {
		t.Errorf("%d bytes were taken, %v", n, err)
	}
	if n, err := w.Close(); n != 2*blockBytes || err != nil {
		t.Errorf("%d bytes are kept, %v", n, err)
	}
	release(t, h)
	if n := len(s.memory.tokens); n != 2 {
		t.Errorf("%d of 2 blocks came back", n)
	}
	s.memory = newMemory(memoryBytes)
	add(t, s, want[2*blockBytes:])
	complete(t, server, s, want)
}

func TestPartsHaveRoomForTheLargestObject(t *testing.T) {
	t.Parallel()
	for _, size := range []int64{1, minPartBytes, plannedParts * minPartBytes, plannedParts*minPartBytes + 1, 100 << 30, MaxBytes - 1, MaxBytes} {
		part := partBytes(size)
		if n := (size + part - 1) / part; part < minPartBytes || part > maxPartBytes || n > plannedParts || part%mib != 0 {
			t.Errorf("an object of %d bytes has %d parts of %d", size, n, part)
		}
	}
}

func TestStoreWithoutConditionsIsRefused(t *testing.T) {
	t.Parallel()
	real := s3test.Start(t)
	if err := process(t, real).Conditional(t.Context()); err != nil {
		t.Errorf("a store with conditions: %v", err)
	}
	refusing := s3test.Start(t)
	s := process(t, refusing)
	refusing.Fail(s3test.Fault{Op: "PutObject", Status: 501, Code: "NotImplemented"})
	if err := s.Conditional(t.Context()); !errors.Is(err, ErrUnconditional) {
		t.Errorf("a store that knows no conditions: %v", err)
	}
	careless := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("ETag", `"1"`) }))
	defer careless.Close()
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	client := s3.New(s3.Options{
		Region: "us-east-1", BaseEndpoint: &careless.URL, UsePathStyle: true, HTTPClient: &http.Client{Transport: transport},
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: "a", SecretAccessKey: "b"}, nil
		}),
	})
	if err := New(client, "tidemark", dir, logtest.Quiet()).Conditional(context.Background()); !errors.Is(err, ErrUnconditional) {
		t.Errorf("a store that ignores conditions: %v", err)
	}
}
