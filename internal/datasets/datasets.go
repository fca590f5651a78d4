package datasets

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"

	"gocloud.dev/blob"
	"gocloud.dev/gcerrors"

	"github.com/tidemark-dev/tidemark/engine/wire"
	"github.com/tidemark-dev/tidemark/internal/blobs"
	"github.com/tidemark-dev/tidemark/internal/durable"
	"github.com/tidemark-dev/tidemark/internal/storefault"
)

// ErrNotFound says that the topic has no such dataset. It is wire.ErrNoDataset.
var ErrNotFound = wire.ErrNoDataset

// ErrDamaged says that a dataset's manifest is none, or another dataset's.
var ErrDamaged = errors.New("the manifest is damaged")

// MaxManifestBytes bounds a manifest as JSON.
const MaxManifestBytes = 2 << 20

// MaxPage is the most datasets of a page of List.
const MaxPage = 100

// Write keeps m, over an earlier one of the same ID. The dataset's bytes must be there.
func Write(ctx context.Context, bucket *blob.Bucket, m *Manifest) error {
	if _, err := wire.ParseTopic(string(m.Topic)); err != nil {
		return fmt.Errorf("write a dataset: %w", err)
	}
	if _, err := wire.ParseJobID(string(m.ID)); err != nil {
		return fmt.Errorf("write a dataset: %w", err)
	}
	text, err := json.Marshal(m)
	if err == nil && len(text) > MaxManifestBytes {
		err = fmt.Errorf("%d bytes of JSON: at most %d", len(text), MaxManifestBytes)
	}
	if err == nil {
		err = storefault.Of(durable.Put(ctx, bucket, manifestKey(m.Topic, m.ID), "application/json", text))
	}
	if err != nil {
		return fmt.Errorf("write the manifest of dataset %s: %w", m.ID, err)
	}
	return nil
}

// Get reads the manifest of a topic's dataset. Its error wraps ErrNotFound for one that does not exist, that
// belongs to another topic, that is being deleted, and for what is no ID.
func Get(ctx context.Context, bucket *blob.Bucket, topic wire.Topic, id wire.JobID) (*Manifest, error) {
	m, err := read(ctx, bucket, topic, id)
	if err == nil && m.Deleting {
		m, err = nil, ErrNotFound
	}
	return m, err
}

// Held is Get for a job that pins the dataset: it finds also one that is being deleted, until its bytes go.
func Held(ctx context.Context, bucket *blob.Bucket, topic wire.Topic, id wire.JobID) (*Manifest, error) {
	return read(ctx, bucket, topic, id)
}

func read(ctx context.Context, bucket *blob.Bucket, topic wire.Topic, id wire.JobID) (_ *Manifest, err error) {
	// Neither may reach into another's folder.
	if _, err := wire.ParseTopic(string(topic)); err != nil {
		return nil, ErrNotFound
	}
	if _, err := wire.ParseJobID(string(id)); err != nil {
		return nil, ErrNotFound
	}
	r, err := bucket.NewReader(ctx, manifestKey(topic, id), nil)
	if gcerrors.Code(err) == gcerrors.NotFound {
		return nil, ErrNotFound
	}
	if err != nil {
		return nil, fmt.Errorf("open the manifest of dataset %s: %w", id, storefault.Of(err))
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	text, err := io.ReadAll(io.LimitReader(r, MaxManifestBytes+1))
	if err != nil {
		return nil, fmt.Errorf("read the manifest of dataset %s: %w", id, storefault.Of(err))
	}
	m := new(Manifest)
	if err := json.Unmarshal(text, m); err != nil || len(text) > MaxManifestBytes {
		return nil, fmt.Errorf("dataset %s: %w", id, ErrDamaged)
	}
	if m.Topic != topic || m.ID != id {
		return nil, fmt.Errorf("dataset %s: %w: it is of another dataset", id, ErrDamaged)
	}
	return m, nil
}

func manifestKey(topic wire.Topic, id wire.JobID) string {
	return blobs.Dataset(topic, id, blobs.DatasetManifest)
}

// A Page is a part of a list.
type Page struct {
	Datasets []*Manifest `json:"datasets"`
	// Next is where List goes on; empty at the end.
	Next string `json:"next,omitempty"`
}

// ErrCursor says that a text is no Next of a page.
var ErrCursor = errors.New("malformed cursor of a list of datasets")

// List returns at most limit datasets of a topic, up to MaxPage, in the order of their IDs; after is a Page's
// Next, empty for the first page. A page may be short, or empty, and have a Next. A malformed topic has
// no datasets.
func List(ctx context.Context, bucket *blob.Bucket, topic wire.Topic, after string, limit int) (Page, error) {
	page := Page{Datasets: []*Manifest{}}
	if _, err := wire.ParseTopic(string(topic)); err != nil {
		return page, nil //nolint:nilerr // what is no topic has no datasets
	}
	token := blob.FirstPageToken
	if after != "" {
		var err error
		if token, err = base64.RawURLEncoding.DecodeString(after); err != nil || len(token) == 0 {
			return page, ErrCursor
		}
	}
	folders, next, err := bucket.ListPage(ctx, token, min(max(limit, 1), MaxPage), &blob.ListOptions{Prefix: blobs.DatasetsOf(topic), Delimiter: "/"})
	if err != nil {
		return page, fmt.Errorf("list the datasets of %s: %w", topic, storefault.Of(err))
	}
	for _, f := range folders {
		switch m, err := Get(ctx, bucket, topic, wire.JobID(path.Base(f.Key))); {
		case errors.Is(err, ErrNotFound), errors.Is(err, ErrDamaged): // its bytes are there and its manifest not yet, or no more
		case err != nil:
			return page, err
		default:
			page.Datasets = append(page.Datasets, m)
		}
	}
	if len(next) > 0 {
		page.Next = base64.RawURLEncoding.EncodeToString(next)
	}
	return page, nil
}
