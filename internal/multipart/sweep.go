package multipart

import (
	"context"
	"errors"
	"io/fs"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// Sweep deletes what lost processes have left and no state names: multipart uploads of objects whose
// keys begin with prefix, and tails, that began before a time. nameOf gives the name of a target's state;
// false leaves the target alone. Processes may sweep at once.
func (s *Store) Sweep(ctx context.Context, prefix string, before time.Time, nameOf func(target string) (string, bool)) error {
	return errors.Join(s.sweepUploads(ctx, prefix, before, nameOf), s.sweepTails(ctx, before))
}

func (s *Store) sweepUploads(ctx context.Context, prefix string, before time.Time, nameOf func(string) (string, bool)) error {
	var errs []error
	pages := s3.NewListMultipartUploadsPaginator(s.client, &s3.ListMultipartUploadsInput{Bucket: &s.bucket, Prefix: &prefix})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return errors.Join(append(errs, said("list multipart uploads", err))...)
		}
		for _, u := range page.Uploads {
			name, ours := nameOf(aws.ToString(u.Key))
			if !ours || !aws.ToTime(u.Initiated).Before(before) {
				continue
			}
			st, err := s.Read(ctx, name)
			if errors.Is(err, fs.ErrNotExist) || err == nil && st.Upload != aws.ToString(u.UploadId) {
				err = s.abort(ctx, aws.ToString(u.Key), aws.ToString(u.UploadId))
			}
			if err != nil {
				errs = append(errs, err)
			}
		}
	}
	return errors.Join(errs...)
}

func (s *Store) sweepTails(ctx context.Context, before time.Time) error {
	var errs []error
	prefix := s.dir + "/tails/"
	pages := s3.NewListObjectsV2Paginator(s.client, &s3.ListObjectsV2Input{Bucket: &s.bucket, Prefix: &prefix})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return errors.Join(append(errs, said("list tails", err))...)
		}
		for _, o := range page.Contents {
			key := aws.ToString(o.Key)
			name, _, _ := strings.Cut(strings.TrimPrefix(key, prefix), "/")
			if !aws.ToTime(o.LastModified).Before(before) {
				continue
			}
			if err := s.removeUnnamed(ctx, name, key); err != nil {
				errs = append(errs, err)
			}
		}
	}
	return errors.Join(errs...)
}

// removeUnnamed removes a tail that the state does not name.
func (s *Store) removeUnnamed(ctx context.Context, name, tail string) error {
	st, err := s.Read(ctx, name)
	if errors.Is(err, fs.ErrNotExist) || err == nil && !st.names(tail) {
		return s.remove(ctx, tail)
	}
	return err
}

func (st *State) names(tail string) bool {
	return st.Tail != nil && st.Tail.Key == tail || st.Base != nil && st.Base.Key == tail
}
