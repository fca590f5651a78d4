package datadir

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/alicebob/miniredis/v2"
)

// embedded is a Redis in this process's memory.
//
// Its TIME and the IDs that it gives follow the real clock, but TTLs pass only
// when a caller advances them, hence the goroutine. (Its own ClockTTL would do that too,
// at the price of a walk over all keys before every command.)
type embedded struct {
	mini *miniredis.Miniredis
	stop chan struct{}
	done chan struct{}
}

// ttlStep is how far a TTL may run over.
const ttlStep = time.Second

func openEmbedded(dir, why string) (*Redis, error) {
	mini := miniredis.NewMiniRedis()
	// Any program of any user can dial loopback, a web page's script included.
	password := rand.Text()
	mini.RequireAuth(password)
	if err := mini.Start(); err != nil {
		return nil, fmt.Errorf("starting the embedded Redis on 127.0.0.1: %w", err)
	}
	e := &embedded{mini: mini, stop: make(chan struct{}), done: make(chan struct{})}
	start, ticker := time.Now(), time.NewTicker(ttlStep)
	go func() {
		defer ticker.Stop()
		e.passTime(start, ticker.C)
	}()

	describe := "embedded Redis in memory, " + why + ": nothing will survive this process"
	if hasData(dir) {
		describe += "; what " + redisDir(dir) + " holds is not used"
	}
	u := url.URL{Scheme: "redis", User: url.UserPassword("", password), Host: mini.Addr()}
	return &Redis{kind: Embedded, url: u.String(), describe: describe, leave: e.close}, nil
}

// passTime lets TTLs pass by what really went by between ticks, some of which a
// busy machine drops.
func (e *embedded) passTime(last time.Time, ticks <-chan time.Time) {
	defer close(e.done)
	for {
		select {
		case <-e.stop:
			return
		case now := <-ticks:
			e.mini.FastForward(now.Sub(last))
			last = now
		}
	}
}

func (e *embedded) close(context.Context) error {
	close(e.stop)
	<-e.done
	e.mini.Close()
	return nil
}

// hasData reports whether a server has kept data under dir: Redis 7 writes a
// folder, 6.2 a file.
func hasData(dir string) bool {
	for _, name := range []string{"appendonlydir", "appendonly.aof"} {
		if _, err := os.Stat(filepath.Join(redisDir(dir), name)); err == nil {
			return true
		}
	}
	return false
}
