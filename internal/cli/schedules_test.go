package cli_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/gateway/client"
)

// The worker of an up makes the jobs of schedules: those of its configuration, and those
// that are put while it runs.
func TestUpSeesToSchedules(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	const file = `schedules: [{name: configured, topic: "user:demo", type: x, queue: nobody, cron: "@every 1s"}]`
	if err := os.WriteFile(filepath.Join(dir, "tidemark.yaml"), []byte(file), 0o600); err != nil {
		t.Fatal(err)
	}
	s := serve(t, dir, "up", "--set", "worker.schedule_interval=100ms")
	c, err := client.New(client.Options{URL: "http://" + s.Addr})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	put := engine.Schedule{Topic: "user:demo", Name: "put", Cron: "@every 1s", Type: "x", Queue: "nobody"}
	if _, _, err := c.PutSchedule(ctx, put); err != nil {
		t.Fatal(err)
	}
	seen := map[string]int{}
	for u, err := range c.Follow(ctx, engine.FollowQuery{Topic: "user:demo", After: engine.Beginning}) {
		if err != nil {
			t.Fatalf("after jobs of %v: %v", seen, err)
		}
		if u.Kind != engine.UpdateRecord {
			continue
		}
		r, err := u.Entry.Record()
		if err != nil {
			t.Fatal(err)
		}
		seen[r.Job.Labels[engine.ScheduleLabel]]++
		if seen["configured"] > 1 && seen["put"] > 1 {
			break
		}
	}
	if all, err := c.Schedules(ctx, "user:demo"); err != nil || len(all) != 1 || all[0].LastAt.IsZero() {
		t.Errorf("the gateway lists %+v, %v, want the one that was put", all, err)
	}
	s.drain()
}

// A container of the program alone has no database of time zones.
func TestProgramBringsTimeZones(t *testing.T) {
	list := exec.CommandContext(t.Context(), "go", "list", "-deps", ".")
	list.Dir = "../.."
	out, err := list.Output()
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(strings.Fields(string(out)), "time/tzdata") {
		t.Error("time/tzdata is not linked in")
	}
}
