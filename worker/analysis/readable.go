package analysis

import (
	"fmt"
	"strings"

	"github.com/tidemark-dev/tidemark/engine"
)

// readable refuses blobs that a job of the topic may not read. Whoever may enqueue a
// job chooses its payload, so the payload's word is not enough: uploads stand under
// incoming/<topic>/, and artifacts under a job whose topic their key does not tell.
//
// On some systems a store of files takes "Incoming/…" for "incoming/…", so case is not
// looked at.
func readable(key string, topic engine.Topic) error {
	if err := checkKey(key); err != nil {
		return err
	}
	folder, _, _ := strings.Cut(key, "/")
	switch {
	case strings.EqualFold(folder, "incoming") && !strings.HasPrefix(key, "incoming/"+string(topic)+"/"):
		return fmt.Errorf("%w: payload blob: it was uploaded for another topic, and this job is of topic %s; upload the file for this topic", ErrInput, topic)
	case strings.EqualFold(folder, "artifacts"):
		return fmt.Errorf("%w: payload blob: it is an artifact of a job; artifacts are not analyzed", ErrInput)
	}
	return nil
}
