package multipart

import (
	"context"
	"errors"
	"io/fs"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// completions bounds how often Complete asks the store, a second apart at most.
const completions = 5

// Complete makes the object of a state that has all its bytes. Again, it is no error: the same parts give the
// same object.
func (h *Hold) Complete(ctx context.Context) error {
	st, s := h.State(), h.s
	in := &s3.CompleteMultipartUploadInput{
		Bucket: &s.bucket, Key: &st.Target, UploadId: &st.Upload, MpuObjectSize: &st.Size, MultipartUpload: &types.CompletedMultipartUpload{},
	}
	for _, p := range st.Parts {
		in.MultipartUpload.Parts = append(in.MultipartUpload.Parts, types.CompletedPart{PartNumber: &p.Number, ETag: &p.ETag})
	}
	for try, wait := 1, 100*time.Millisecond; ; try, wait = try+1, min(2*wait, time.Second) {
		_, err := s.client.CompleteMultipartUpload(ctx, in)
		if err == nil {
			return nil
		}
		// A request whose answer was lost, or that of a holder before, may have made it; and a store may
		// stumble over a part that comes meanwhile.
		out, unknown := s.client.HeadObject(ctx, &s3.HeadObjectInput{Bucket: &s.bucket, Key: &st.Target})
		if unknown == nil && aws.ToInt64(out.ContentLength) == st.Size {
			s.log.Warn("the store refused to complete an object that is complete", "name", st.name, "error", said("complete", err))
			return nil
		}
		gone := codeOf(err) == noSuchUpload && errors.Is(said("", unknown), fs.ErrNotExist)
		switch {
		case try < completions:
			s.log.Warn("the store did not complete an object; it is asked again", "name", st.name, "error", said("complete", err))
		case gone:
			return h.reset(ctx)
		default:
			return said("complete an object", err)
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return said("complete an object", err)
		}
	}
}
