package upload

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/gateway/auth"
	"github.com/tidemark-dev/tidemark/gateway/internal/problem"
	"github.com/tidemark-dev/tidemark/internal/jsonerr"
)

const (
	maxFilenameBytes = 255 // what file systems take
	maxKeyBytes      = 256
)

// An announcement is what a creation asks for.
type announcement struct {
	upload *upload
	spec   engine.Spec
}

// announced reads a creation, and checks everything that can be checked before anything
// is made.
func (u *Server) announced(r *http.Request, p *auth.Principal) (announcement, error) {
	bad := func(format string, args ...any) (announcement, error) {
		return announcement{}, fmt.Errorf("%w: "+format, append([]any{problem.ErrRequest}, args...)...)
	}
	if r.Header.Get("X-HTTP-Method-Override") != "" {
		return bad("X-HTTP-Method-Override is taken at an upload's own address")
	}
	if r.Header.Get("Upload-Defer-Length") != "" {
		return bad("Upload-Defer-Length: the length must be known, send Upload-Length")
	}
	if r.Header.Get("Upload-Concat") != "" {
		return bad("Upload-Concat: uploads are not concatenated")
	}
	size, err := strconv.ParseInt(r.Header.Get("Upload-Length"), 10, 64)
	switch {
	case err != nil || size < 0:
		return bad("Upload-Length %.40q: want the file's size in bytes", r.Header.Get("Upload-Length"))
	case size == 0:
		return bad("This file is empty.")
	case size > u.opts.MaxBytes:
		detail := fmt.Sprintf("This file has %d bytes; an upload has at most %d bytes.", size, u.opts.MaxBytes)
		return announcement{}, refusal(http.StatusRequestEntityTooLarge, "too_large", detail, 0)
	case r.ContentLength > size && r.Header.Get("Content-Type") == uploadType:
		return announcement{}, errTooLong
	}
	meta, err := parseMetadata(r.Header.Values("Upload-Metadata"))
	if err != nil {
		return announcement{}, err
	}
	topic, err := engine.ParseTopic(meta["topic"])
	if err != nil {
		return bad("Upload-Metadata: topic: %w", err)
	}
	if !p.May(auth.Enqueue, topic) {
		return announcement{}, problem.ErrForbidden
	}
	job, err := u.runtime.NewJobID(topic)
	if err != nil {
		return announcement{}, err
	}
	up := &upload{
		Job: job, Topic: topic, Owner: p.Subject, Size: size, Share: u.opts.ReceiveShare,
		Created: time.Now().UTC(), Metadata: meta, place: open,
	}
	if err := up.storable(); err != nil {
		return bad("Upload-Metadata: %w", err)
	}
	spec, err := up.spec()
	if err == nil {
		if err = spec.Validate(); err != nil {
			err = fmt.Errorf("%w: Upload-Metadata: %w", problem.ErrRequest, err)
		}
	}
	if err == nil {
		// What an upload adds to the payload is not its user's.
		err = u.opts.Allowed.Fit(p, &spec, len(meta["payload"]))
	}
	return announcement{up, spec}, err
}

// parseMetadata reads Upload-Metadata: pairs of a key and base64, joined with commas.
func parseMetadata(lines []string) (map[string]string, error) {
	meta := map[string]string{}
	for _, pair := range strings.Split(strings.Join(lines, ","), ",") {
		pair = strings.TrimSpace(pair)
		if pair == "" {
			continue
		}
		key, encoded, _ := strings.Cut(pair, " ")
		value, err := base64.StdEncoding.DecodeString(strings.TrimSpace(encoded))
		if err != nil {
			return nil, fmt.Errorf("%w: Upload-Metadata: %.40q is not base64: %w", problem.ErrRequest, key, err)
		}
		if _, twice := meta[key]; twice {
			return nil, fmt.Errorf("%w: Upload-Metadata: %.40q is there twice", problem.ErrRequest, key)
		}
		if !utf8.Valid(value) {
			return nil, fmt.Errorf("%w: Upload-Metadata: %.40q is not UTF-8", problem.ErrRequest, key)
		}
		meta[key] = string(value)
	}
	return meta, nil
}

// spec is the job that the metadata ask for, but for the checks of engine.Spec.
func (up *upload) spec() (engine.Spec, error) {
	bad := func(format string, args ...any) (engine.Spec, error) {
		return engine.Spec{}, fmt.Errorf("%w: Upload-Metadata: "+format, append([]any{problem.ErrRequest}, args...)...)
	}
	name := up.Metadata["filename"]
	if len(name) > maxFilenameBytes {
		return bad("filename of %d bytes: at most %d", len(name), maxFilenameBytes)
	}
	s := engine.Spec{Topic: up.Topic, Type: up.Metadata["type"], Title: up.Metadata["title"], Queue: up.Metadata["queue"]}
	if key := up.Metadata["key"]; len(key) > maxKeyBytes {
		return bad("key of %d bytes: at most %d", len(key), maxKeyBytes)
	} else if key != "" {
		// Each client has keys of its own, and a file of another length is another one.
		sum := sha256.Sum256(fmt.Appendf(nil, "%q %d %s", up.Owner, up.Size, key))
		s.Key = hex.EncodeToString(sum[:])
	}
	s.KeyLife = engine.KeyLife(up.Metadata["key_life"])
	if s.Title == "" {
		s.Title = firstRunes(name, engine.MaxTitleRunes)
	}
	if text := up.Metadata["labels"]; text != "" {
		if err := json.Unmarshal([]byte(text), &s.Labels); err != nil {
			return bad("labels: want a JSON object of strings: %s", jsonerr.Why(err))
		}
	}
	payload := map[string]json.RawMessage{}
	if text := up.Metadata["payload"]; text != "" {
		if err := json.Unmarshal([]byte(text), &payload); err != nil || payload == nil {
			return bad("payload: want a JSON object")
		}
	}
	set := func(name string, value any) {
		b, _ := json.Marshal(value) // strings and a number
		payload[name] = b
	}
	set("blob", blobKey(up))
	set("size", up.Size)
	if name != "" {
		set("name", name)
	}
	s.Payload = payload
	return s, nil
}

func firstRunes(s string, n int) string {
	for i := range s {
		if n--; n < 0 {
			return s[:i]
		}
	}
	return s
}
