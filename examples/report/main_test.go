package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"gocloud.dev/blob/fileblob"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/internal/artifacts"
	"github.com/tidemark-dev/tidemark/internal/leaktest"
	"github.com/tidemark-dev/tidemark/internal/redistest"
	"github.com/tidemark-dev/tidemark/worker"
)

const (
	urlEnv    = "TIDEMARK_REPORT_URL"
	folderEnv = "TIDEMARK_REPORT_FOLDER"
)

// TestMain is the worker in a process that a test has started.
func TestMain(m *testing.M) {
	if url := os.Getenv(urlEnv); url != "" {
		fmt.Println(serve(context.Background(), url, os.Getenv(folderEnv), worker.Options{
			Queues: []string{"reports"}, CheckpointInterval: 20 * time.Millisecond, TickInterval: 20 * time.Millisecond,
			HeartbeatInterval: 50 * time.Millisecond, Lease: time.Second, SweepInterval: 50 * time.Millisecond, CrashLimit: 1000,
		}))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// process is a worker of its own, which dies with the test.
func process(t *testing.T, url, folder string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), urlEnv+"="+url, folderEnv+"="+folder)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd
}

// kill is kill -9.
func kill(cmd *exec.Cmd) {
	_ = cmd.Process.Kill()
	_ = cmd.Wait() // says that it was killed
}

// Ten workers are killed at random moments while they write a report. It has the bytes of an undisturbed
// one, and nobody ever sees anything else of it.
func TestAReportSurvivesTenKills(t *testing.T) {
	const lines, kills = 2_000_000, 10
	leaktest.Check(t)
	url, folder := redistest.Server(t).URL(), t.TempDir()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	e, err := engine.Open(ctx, engine.Options{URL: url})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	}()
	job, err := e.Enqueue(ctx, engine.Spec{Topic: "user:42", Type: "report", Queue: "reports", Payload: Report{Lines: lines}})
	if err != nil {
		t.Fatal(err)
	}
	cmd := process(t, url, folder)
	defer func() { kill(cmd) }()
	killed, closed := 0, 0
	begun := 0 // the attempt that the next kill is for
	var last *engine.Job
	for u, err := range e.Follow(ctx, engine.FollowQuery{Filter: engine.Filter{Job: job.ID}, After: engine.Beginning}) {
		if err != nil {
			t.Fatal(err)
		}
		if u.Kind != engine.UpdateRecord {
			continue
		}
		r, err := u.Entry.Record()
		if err != nil {
			t.Fatal(err)
		}
		last = r.Job
		if r.Type == engine.JobArtifact {
			closed++
		}
		if len(last.Artifacts) != closed || closed > 1 {
			t.Fatalf("%s shows %+v after %d times job.artifact", r.Type, last.Artifacts, closed)
		}
		// Every other one is killed before it has made a checkpoint.
		due := engine.JobCheckpoint
		if killed%2 == 1 {
			due = engine.JobResumed
		}
		if killed < kills && r.Type == due && last.Attempt > begun {
			<-time.After(rand.N(40 * time.Millisecond))
			kill(cmd)
			cmd = process(t, url, folder)
			killed, begun = killed+1, last.Attempt
		}
	}
	if last.State != engine.Succeeded || closed != 1 {
		t.Fatalf("the job has %s with %d artifacts: %+v", last.State, closed, last.Error)
	}
	if killed != kills || last.Attempt != kills+1 {
		t.Fatalf("%d kills met %d attempts: it was over too soon", killed, last.Attempt)
	}
	want := sha256.New()
	var b bytes.Buffer
	size := 0
	for line := range lines {
		fmt.Fprintf(&b, "%d,%d\n", line, line*line)
		if b.Len() > 1<<20 || line == lines-1 {
			size += b.Len()
			_, _ = b.WriteTo(want)
		}
	}
	a := last.Artifacts[0]
	if a.SHA256 != hex.EncodeToString(want.Sum(nil)) || a.Size != int64(size) || a.Type != "text/csv" {
		t.Errorf("it is %+v", a)
	}
	bucket, err := fileblob.OpenBucket(folder, &fileblob.Options{NoTempDir: true})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := bucket.Close(); err != nil {
			t.Error(err)
		}
	}()
	m, err := artifacts.Find(ctx, bucket, artifacts.Place{Topic: "user:42", Job: job.ID, Name: a.Name}, a)
	if err != nil {
		t.Fatal(err)
	}
	got := sha256.New()
	if _, err := io.Copy(got, artifacts.NewReader(ctx, bucket, m)); err != nil || !bytes.Equal(got.Sum(nil), want.Sum(nil)) {
		t.Errorf("its bytes are others: %v", err)
	}
}
