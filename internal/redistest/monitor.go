package redistest

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"regexp"
	"slices"
	"strings"
)

// A Call is a command that a Redis took.
type Call struct {
	Command  string // in capitals
	Key      string // its first key, or else its first argument; "" if it has none
	InScript bool   // a script called it, not a client
}

var quotedWord = regexp.MustCompile(`"((?:[^"\\]|\\.)*)"`)

// Monitor passes every command from now on to see, until that returns false or ctx ends,
// which is an error: its cause.
func (r *Redis) Monitor(ctx context.Context, see func(Call) bool) error {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", r.Addr())
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	if _, err := conn.Write([]byte("MONITOR\r\n")); err != nil {
		return err
	}
	lines := bufio.NewScanner(conn)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		from, rest, found := strings.Cut(lines.Text(), "] ")
		if !found {
			continue // the OK to MONITOR
		}
		if !see(callOf(rest, strings.HasSuffix(from, " lua"))) {
			return nil
		}
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return fmt.Errorf("the monitor ended: %w", lines.Err())
}

func callOf(text string, inScript bool) Call {
	var words []string
	for _, m := range quotedWord.FindAllStringSubmatch(text, -1) {
		words = append(words, m[1])
	}
	if len(words) == 0 {
		return Call{InScript: inScript}
	}
	c, key := Call{Command: strings.ToUpper(words[0]), InScript: inScript}, 1
	switch c.Command {
	case "EVAL", "EVALSHA", "EVAL_RO", "EVALSHA_RO":
		key = 3
	case "XREAD", "XREADGROUP":
		key = 1 + slices.IndexFunc(words, func(w string) bool { return strings.EqualFold(w, "streams") })
	}
	if len(words) > key {
		c.Key = words[key]
	}
	return c
}
