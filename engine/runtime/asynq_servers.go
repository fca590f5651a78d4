package runtime

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/tidemark-dev/tidemark/engine/internal/ground"
	"github.com/tidemark-dev/tidemark/engine/wire"
)

// An asynqServer is a server that asynq knows to be alive. A worker has several, and so may a
// process.
type asynqServer struct {
	process string          // <host>:<pid>
	queues  map[string]bool // by asynq's names
}

// serves reports how a server serves a queue, by asynq's name: as a worker of Tidemark's, which
// serves the rescue queue with it, or as another program.
func (s asynqServer) serves(queue string) (own, other bool) {
	own = s.queues[RescueQueue(queue)]
	return own, !own && s.queues[queue]
}

// clockSlack is by how much the clock of a server's machine may be behind Redis's. Redis drops the
// description of a dead server by its own clock.
const clockSlack = time.Minute

// servers reads asynq's servers in two round trips; the Inspector takes two for each. A server
// counts for up to 10 seconds after it was killed. Its error wraps ErrUnreachable.
func (rt *Runtime) servers(ctx context.Context) ([]asynqServer, error) {
	live := &redis.ZRangeBy{Min: strconv.FormatInt(rt.g.Now().Add(-clockSlack).Unix(), 10), Max: "+inf"}
	keys, err := rt.g.Redis.ZRangeByScore(ctx, "asynq:servers", live).Result()
	if err != nil || len(keys) == 0 {
		return nil, ground.Failure("read asynq's servers", err)
	}
	pipe := rt.g.Redis.Pipeline()
	cmds := make([]*redis.StringCmd, len(keys))
	for i, key := range keys {
		cmds[i] = pipe.Get(ctx, key)
	}
	_, _ = pipe.Exec(ctx) // each command's own error is read below
	servers := make([]asynqServer, 0, len(keys))
	for _, c := range cmds {
		text, err := c.Bytes()
		switch {
		case errors.Is(err, redis.Nil):
			continue // it is dead
		case err != nil:
			return nil, ground.Failure("read asynq's servers", err)
		}
		if s, err := readServer(text); err == nil {
			servers = append(servers, s)
		}
	}
	return servers, nil
}

var errMalformed = errors.New("malformed")

// readServer reads asynq's ServerInfo, a message of Protocol Buffers: host is field 1, pid 2, and
// queues 5, a map of which each entry is a field.
func readServer(b []byte) (asynqServer, error) {
	s := asynqServer{queues: map[string]bool{}}
	host, pid := "", uint64(0)
	err := eachField(b, func(field protowire.Number, text []byte, number uint64) error {
		switch field {
		case 1:
			host = string(text)
		case 2:
			pid = number
		case 5:
			return eachField(text, func(field protowire.Number, text []byte, _ uint64) error {
				if field == 1 {
					s.queues[string(text)] = true
				}
				return nil
			})
		}
		return nil
	})
	s.process = fmt.Sprintf("%s:%d", host, pid)
	return s, err
}

// eachField calls see with the fields of a message: with the bytes of a text, a message or a map's
// entry, or with a number.
func eachField(b []byte, see func(field protowire.Number, text []byte, number uint64) error) error {
	for len(b) > 0 {
		field, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			return errMalformed
		}
		b = b[n:]
		var text []byte
		var number uint64
		switch kind {
		case protowire.BytesType:
			text, n = protowire.ConsumeBytes(b)
		case protowire.VarintType:
			number, n = protowire.ConsumeVarint(b)
		default:
			n = protowire.ConsumeFieldValue(field, kind, b)
		}
		if n < 0 {
			return errMalformed
		}
		b = b[n:]
		if err := see(field, text, number); err != nil {
			return err
		}
	}
	return nil
}

// LiveQueues are the queues that asynq's servers of the moment take tasks from, by the names
// that asynq knows them by. A server counts for up to 10 seconds after it was killed. Its
// error wraps ErrUnreachable.
func (rt *Runtime) LiveQueues(ctx context.Context) (map[string]bool, error) {
	servers, err := rt.servers(ctx)
	if err != nil {
		return nil, err
	}
	queues := map[string]bool{}
	for _, s := range servers {
		for name := range s.queues {
			queues[name] = true
		}
	}
	return queues, nil
}

// companion returns the queue that a rescue queue or a type queue belongs to, and the type of the
// latter; "" for a name that is neither. The names are without a namespace.
func companion(name string) (of, jobType string) {
	if base, rescue := strings.CutSuffix(name, wire.RescueSuffix); rescue {
		return base, ""
	}
	if base, jobType, typed := strings.Cut(name, "."); typed {
		return base, jobType
	}
	return "", ""
}
