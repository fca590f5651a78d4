package blobs

import (
	"encoding/json"
	"errors"
	"strings"

	"github.com/tidemark-dev/tidemark/engine/wire"
)

// Named are the files that a job's payload names. The commit that creates the job pins them.
type Named struct {
	// Upload is the job for which the file was uploaded that the payload names in its member blob. It is
	// one of the job's topic.
	Upload wire.JobID
	// Dataset is the ID in the payload's member dataset, or in the key of a dataset's bytes in its member
	// blob. The topic may have no such dataset.
	Dataset wire.JobID
	// Foreign: the payload's member blob is neither an upload of the topic nor a dataset of it.
	Foreign bool
}

// NamedBy returns what the payload of a job of the topic names.
func NamedBy(topic wire.Topic, payload []byte) (named Named) {
	// As processors read it: of a member that is there twice, the last text.
	var p struct{ Blob, Dataset string }
	if err := json.Unmarshal(payload, &p); err != nil && !errors.As(err, new(*json.UnmarshalTypeError)) {
		return named // not JSON: only the handler can read it
	}
	key := p.Blob
	if id, ok := strings.CutPrefix(key, Upload(topic, "")); ok {
		named.Upload = idOrNone(id)
	}
	named.Dataset = idOrNone(p.Dataset)
	rest, ok := strings.CutPrefix(key, DatasetsOf(topic))
	if ok && named.Dataset == "" {
		id, _, _ := strings.Cut(rest, "/")
		named.Dataset = idOrNone(id)
	}
	named.Foreign = key != "" && !ok && named.Upload == ""
	return named
}

func idOrNone(text string) wire.JobID {
	id, err := wire.ParseJobID(text)
	if err != nil {
		return ""
	}
	return id
}
