package artifacts

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"gocloud.dev/blob"
	"gocloud.dev/gcerrors"

	"github.com/tidemark-dev/tidemark/engine/wire"
	"github.com/tidemark-dev/tidemark/internal/blobs"
	"github.com/tidemark-dev/tidemark/internal/durable"
)

const (
	manifestSuffix = ".json"
	published      = "manifest" + manifestSuffix
	jsonType       = "application/json"
	// maxManifestBytes is above what a manifest of MaxParts parts, each of another attempt, takes.
	maxManifestBytes = 4 << 20
)

// ErrNotFound says that the blob store has no such artifact.
var ErrNotFound = errors.New("no such artifact")

// Owner returns the topic of a job that has artifacts. Errors to branch on: ErrNotFound.
func Owner(ctx context.Context, bucket *blob.Bucket, job wire.JobID) (wire.Topic, error) {
	text, err := readSmall(ctx, bucket, blobs.Owner(job), 1<<10)
	if err != nil {
		return "", err
	}
	return wire.ParseTopic(string(text))
}

// Published reads the manifest of an artifact that readers see. Errors to branch on: ErrNotFound.
func Published(ctx context.Context, bucket *blob.Bucket, at Place) (*Manifest, error) {
	return readManifest(ctx, bucket, at, at.key(published))
}

// Publish writes the manifest of an artifact that a commit has named. Doing it again is no error.
func Publish(ctx context.Context, bucket *blob.Bucket, m *Manifest) error {
	text, err := json.Marshal(m)
	if err != nil {
		return err
	}
	return durable.Bare(durable.Put(ctx, bucket, Place{m.Topic, m.Job, m.Name}.key(published), jsonType, text))
}

// Find returns the manifest of an artifact that a commit has named. Where the worker that closed it died
// before it published the manifest, Find does. Errors to branch on: ErrNotFound.
func Find(ctx context.Context, bucket *blob.Bucket, at Place, want wire.Artifact) (*Manifest, error) {
	m, err := Published(ctx, bucket, at)
	if err == nil && m.SHA256 == want.SHA256 && m.Size == want.Size {
		return m, nil
	}
	if err != nil && !errors.Is(err, ErrNotFound) {
		return nil, err
	}
	for all := bucket.List(&blob.ListOptions{Prefix: at.key("")}); ; {
		found, err := all.Next(ctx)
		if errors.Is(err, io.EOF) {
			return nil, ErrNotFound
		}
		if err != nil {
			return nil, durable.Bare(err)
		}
		if !strings.HasSuffix(found.Key, manifestSuffix) || strings.HasSuffix(found.Key, "/"+published) {
			continue
		}
		m, err := readManifest(ctx, bucket, at, found.Key)
		if err != nil {
			return nil, err
		}
		// Attempts that wrote the same bytes serve alike.
		if m.SHA256 == want.SHA256 && m.Size == want.Size {
			m.Artifact = want
			return m, Publish(ctx, bucket, m)
		}
	}
}

func readManifest(ctx context.Context, bucket *blob.Bucket, at Place, key string) (*Manifest, error) {
	text, err := readSmall(ctx, bucket, key, maxManifestBytes)
	if err != nil {
		return nil, err
	}
	var m Manifest
	if err := json.Unmarshal(text, &m); err != nil {
		return nil, fmt.Errorf("the manifest of artifact %s does not decode: %w", blobs.ArtifactID(at.Job, at.Name), err)
	}
	if m.Topic != at.Topic || m.Job != at.Job || m.Name != at.Name {
		return nil, fmt.Errorf("the manifest of artifact %s is of another one", blobs.ArtifactID(at.Job, at.Name))
	}
	return &m, nil
}

func readSmall(ctx context.Context, bucket *blob.Bucket, key string, most int64) ([]byte, error) {
	r, err := bucket.NewReader(ctx, key, nil)
	if gcerrors.Code(err) == gcerrors.NotFound {
		return nil, ErrNotFound
	}
	if err != nil {
		return nil, durable.Bare(err)
	}
	if r.Size() > most {
		return nil, errors.Join(fmt.Errorf("a blob of %d bytes where the store keeps at most %d", r.Size(), most), durable.Bare(r.Close()))
	}
	text, err := io.ReadAll(r)
	return text, durable.Bare(errors.Join(err, r.Close()))
}
