package storage

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"gocloud.dev/blob"
	"gocloud.dev/blob/s3blob"

	"github.com/tidemark-dev/tidemark/internal/datadir"
	"github.com/tidemark-dev/tidemark/internal/storefault"
)

const (
	// probeTimeout bounds the check of a store at the start, and readyTimeout a later one.
	probeTimeout = 30 * time.Second
	readyTimeout = 3 * time.Second
	// readyAge is how long an answer about the store stands.
	readyAge = 5 * time.Second
	// probes is the folder of what the check at the start writes.
	probes = "probes/"
)

// A Store is an open store. Its methods may be called concurrently.
type Store struct {
	*blob.Bucket
	// Dir is the folder in which the blobs are, each under its key; "" for a bucket of S3.
	Dir string
	// Name is the name of the bucket of S3, whose client Bucket.As gives; "" for a folder.
	Name string

	client *s3.Client // nil: a folder
	hangUp func()     // ends unused connections

	mu     sync.Mutex
	looked time.Time
	state  error
}

// Open opens the store: the bucket that o names, or the folder of the data folder dir. It writes,
// reads and deletes an object of its own in a bucket. Its error says what to do; those about o wrap
// option.ErrInvalid, those about a folder are datadir's. The caller closes the store.
func Open(ctx context.Context, o Options, dir string) (*Store, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	if o.URL == "" {
		b, err := datadir.Blobs(ctx, dir)
		if err != nil {
			return nil, err
		}
		return &Store{Bucket: b, Dir: datadir.BlobDir(dir)}, nil
	}
	l, err := parse(o.URL)
	if err != nil {
		return nil, err
	}
	s := &Store{Name: l.bucket}
	at := "bucket " + l.bucket
	if l.endpoint != "" {
		at += " at " + l.endpoint
	}
	if s.client, s.hangUp, err = client(ctx, l, o.CredentialsFile); err != nil {
		return nil, fmt.Errorf("storage.url: %s: %w", at, err)
	}
	s.Bucket, err = s3blob.OpenBucket(ctx, s.client, l.bucket, &s3blob.Options{RequestChecksumCalculation: aws.RequestChecksumCalculationWhenRequired})
	if err != nil {
		return nil, fmt.Errorf("storage.url: %s: %w", at, storefault.Of(err))
	}
	if doing, err := s.probe(ctx); err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		} else {
			err = storefault.Of(err)
		}
		return nil, errors.Join(fmt.Errorf("storage.url: cannot %s %s: %w", doing, at, err), s.Close())
	}
	return s, nil
}

// probe does with the store what jobs do. It returns what failed.
func (s *Store) probe(ctx context.Context) (doing string, err error) {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	key, text := probes+rand.Text(), []byte(rand.Text())
	if err := s.WriteAll(ctx, key, text, nil); err != nil {
		return "write to", err
	}
	read, err := s.ReadAll(ctx, key)
	if err == nil && string(read) != string(text) {
		err = errors.New("another content was read")
	}
	// Whether it could be read or not.
	if gone := s.Delete(ctx, key); gone != nil && err == nil {
		return "delete from", gone
	}
	return "read from", err
}

// Ready reports why the store does not answer; nil if it does, and for a folder. It asks the store
// at most once in 5 s, and waits 3 s for the answer.
func (s *Store) Ready(ctx context.Context) error {
	if s.client == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.looked.IsZero() && time.Since(s.looked) < readyAge {
		return s.state
	}
	// Not the caller's context, whose end says nothing about the store.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), readyTimeout)
	defer cancel()
	_, err := s.client.HeadBucket(ctx, &s3.HeadBucketInput{Bucket: &s.Name}, func(o *s3.Options) { o.RetryMaxAttempts = 1 })
	s.looked, s.state = time.Now(), storefault.Of(err)
	return s.state
}

// Close ends the use of the store.
func (s *Store) Close() error {
	err := s.Bucket.Close()
	if s.hangUp != nil {
		s.hangUp()
	}
	return err
}
