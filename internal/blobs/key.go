package blobs

import (
	"errors"
	"fmt"
	"path"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/tidemark-dev/tidemark/engine/wire"
)

// The first segments of keys.
const (
	Incoming  = "incoming"
	Artifacts = "artifacts"
	Owners    = "owners"
	Datasets  = "datasets"
)

// maxKeyBytes is the longest key that every store takes; S3's bound.
const maxKeyBytes = 1024

// reservedSuffix ends the names that a store of files has for itself.
const reservedSuffix = ".attrs"

// Upload is the key of the bytes that were uploaded for a job.
func Upload(topic wire.Topic, job wire.JobID) string {
	return Incoming + "/" + string(topic) + "/" + string(job)
}

// Artifact is the key of a file that a job of an earlier version has written.
func Artifact(job wire.JobID, name string) string { return Artifacts + "/" + string(job) + "/" + name }

// ArtifactsOf begins the keys of all that a job's artifacts consist of.
func ArtifactsOf(topic wire.Topic, job wire.JobID) string {
	return Artifacts + "/" + string(topic) + "/" + string(job) + "/"
}

// Part is the key of a file that an artifact consists of.
func Part(topic wire.Topic, job wire.JobID, name, file string) string {
	return ArtifactsOf(topic, job) + name + "/" + file
}

// Owner is the key of a blob that has the topic of a job with artifacts: their IDs do not name it.
func Owner(job wire.JobID) string { return Owners + "/" + string(job) }

// The names of a dataset's blobs.
const (
	DatasetBytes    = "data"
	DatasetManifest = "manifest.json"
)

// Dataset is the key of a blob of the dataset that a job has made of an upload. The name is DatasetBytes
// or DatasetManifest.
func Dataset(topic wire.Topic, job wire.JobID, name string) string {
	return DatasetsOf(topic) + string(job) + "/" + name
}

// DatasetsOf begins the keys of a topic's datasets.
func DatasetsOf(topic wire.Topic) string { return Datasets + "/" + string(topic) + "/" }

// ArtifactID is what clients call the artifact.
func ArtifactID(job wire.JobID, name string) string { return string(job) + "." + name }

// artifactName is what may follow a job's ID: no path, and no hidden file.
var artifactName = regexp.MustCompile(`^[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}$`)

const jobIDBytes = 28

// ParseArtifactID takes an artifact's ID apart. It reports false where no artifact can
// have the ID. The job's ID is not checked further.
func ParseArtifactID(id string) (job wire.JobID, name string, ok bool) {
	if len(id) < jobIDBytes+2 || id[jobIDBytes] != '.' {
		return "", "", false
	}
	job, name = wire.JobID(id[:jobIDBytes]), id[jobIDBytes+1:]
	return job, name, ValidArtifactName(name)
}

// ArtifactNameForm describes the names that ValidArtifactName takes.
const ArtifactNameForm = "[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}, not ending in " + reservedSuffix

// ValidArtifactName reports whether an artifact may have the name.
func ValidArtifactName(name string) bool {
	return artifactName.MatchString(name) && !strings.HasSuffix(name, reservedSuffix)
}

// Check refuses keys that some store refuses, or takes for another key, as a store of
// files does with "./incoming/…" for "incoming/…". It passes the empty key. Its error does
// not quote the key.
func Check(key string) error {
	switch {
	case key == "":
		return nil
	case len(key) > maxKeyBytes:
		return fmt.Errorf("a key of %d bytes: at most %d", len(key), maxKeyBytes)
	case !utf8.ValidString(key) || strings.ContainsFunc(key, unicode.IsControl):
		return errors.New("want UTF-8 without control characters")
	case path.Clean(key) != key || key == "." || key == ".." || strings.HasPrefix(key, "/") || strings.HasPrefix(key, "../") || strings.Contains(key, `\`):
		return errors.New("want a key of plain segments, such as uploads/orders.csv")
	case strings.HasSuffix(key, reservedSuffix):
		return fmt.Errorf("a store of files has names that end in %s for itself", reservedSuffix)
	}
	return nil
}

// Settled reports whether nobody writes to the blob any more, once a job may read it: Tidemark itself has made it.
// Other programs may write to what has another key.
func Settled(key string) bool {
	folder, _, _ := strings.Cut(key, "/")
	return folder == Incoming || folder == Datasets
}

// Readable refuses blobs that a job of the topic may not read, and keys that Check
// refuses. Every processor asks it about each key that it takes from a payload, since
// the client that enqueues a job chooses its payload. Uploads and datasets belong to the topic that their key names. What
// has a key among artifacts is a part of one, which may never be closed, so no job reads any. Its error is for
// good and does not quote the key.
//
// Some systems take "Incoming/…" for "incoming/…", so Readable ignores case.
func Readable(key string, topic wire.Topic) error {
	if err := Check(key); err != nil {
		return err
	}
	folder, _, _ := strings.Cut(key, "/")
	switch {
	case strings.EqualFold(folder, Incoming) && !strings.HasPrefix(key, Upload(topic, "")):
		return fmt.Errorf("it was uploaded for another topic, and this job is of topic %s; upload the file for this topic", topic)
	case strings.EqualFold(folder, Datasets) && !strings.HasPrefix(key, DatasetsOf(topic)):
		return fmt.Errorf("it is a dataset of another topic, and this job is of topic %s; upload the file for this topic", topic)
	case strings.EqualFold(folder, Artifacts), strings.EqualFold(folder, Owners):
		return errors.New("it is an artifact of a job, and no job reads artifacts")
	}
	return nil
}
