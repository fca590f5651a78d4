package blobs

import (
	"encoding/json"
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
}

// NamedBy returns what the payload of a job of the topic names.
func NamedBy(topic wire.Topic, payload []byte) (named Named) {
	var p struct{ Blob, Dataset any }
	if json.Unmarshal(payload, &p) != nil {
		return named // not JSON: only the handler can read it
	}
	key, _ := p.Blob.(string)
	if id, ok := strings.CutPrefix(key, Upload(topic, "")); ok {
		named.Upload = idOrNone(id)
	}
	dataset, _ := p.Dataset.(string)
	named.Dataset = idOrNone(dataset)
	if rest, ok := strings.CutPrefix(key, DatasetsOf(topic)); ok && named.Dataset == "" {
		id, _, _ := strings.Cut(rest, "/")
		named.Dataset = idOrNone(id)
	}
	return named
}

func idOrNone(text string) wire.JobID {
	id, err := wire.ParseJobID(text)
	if err != nil {
		return ""
	}
	return id
}
