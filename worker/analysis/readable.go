package analysis

import (
	"fmt"
	"path"
	"strings"

	"github.com/tidemark-dev/tidemark/engine"
)

// readable refuses blobs that a job of the topic may not read. Whoever may enqueue a
// job chooses its payload, so the payload's word is not enough: uploads stand under
// incoming/<topic>/, and artifacts under a job whose topic their key does not tell.
//
// A store of files takes "./incoming/…" for "incoming/…", and on some systems
// "Incoming/…" too, so only clean keys are taken, and case is not looked at.
func readable(key string, topic engine.Topic) error {
	if key == "" {
		return nil // Run says what is missing
	}
	if path.Clean(key) != key || strings.HasPrefix(key, "/") || strings.HasPrefix(key, "../") || strings.Contains(key, `\`) {
		return fmt.Errorf("%w: blob %q: want a key of plain segments, such as uploads/orders.csv", ErrInput, key)
	}
	folder, rest, _ := strings.Cut(key, "/")
	switch {
	case strings.EqualFold(folder, "incoming") && !strings.HasPrefix(key, "incoming/"+string(topic)+"/"):
		owner, _, _ := strings.Cut(rest, "/")
		return fmt.Errorf("%w: blob %q was uploaded for topic %q, and this job is of topic %q; upload the file for this topic", ErrInput, key, owner, topic)
	case strings.EqualFold(folder, "artifacts"):
		return fmt.Errorf("%w: blob %q is an artifact of a job; artifacts are not analyzed", ErrInput, key)
	}
	return nil
}
