package datasets

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"gocloud.dev/blob"
	"gocloud.dev/gcerrors"

	"github.com/tidemark-dev/tidemark/internal/blobs"
	"github.com/tidemark-dev/tidemark/internal/storefault"
)

// installationKey is of no topic's dataset: a topic has a colon.
const installationKey = blobs.Datasets + "/installation.json"

// known is the Redis that the store was last used with.
type known struct {
	ID string `json:"id"`
	// Since is when it took the place of another one; zero for the first.
	Since time.Time `json:"since"`
}

// settled reports whether the Redis that has the pins is the one of the last r.Settle. Another one, or an empty one, knows
// of no pin: a wrong address must not cost data while an operator may still notice.
func (r Retention) settled(ctx context.Context, bucket *blob.Bucket, now time.Time) (bool, error) {
	id, err := r.Installation(ctx)
	if err != nil {
		return false, err
	}
	var k known
	first := false
	file, err := bucket.NewReader(ctx, installationKey, nil)
	if gcerrors.Code(err) == gcerrors.NotFound {
		first = true
	} else {
		if err == nil {
			var text []byte
			text, err = io.ReadAll(io.LimitReader(file, 1<<10))
			_ = file.Close()             // it was read
			_ = json.Unmarshal(text, &k) // what is damaged is another one's
		}
		if err != nil {
			return false, fmt.Errorf("read which Redis the datasets belong to: %w", storefault.Of(err))
		}
	}
	if k.ID == id {
		return now.Sub(k.Since) > r.Settle, nil
	}
	if k = (known{ID: id}); !first {
		k.Since = now.UTC()
	}
	text, err := json.Marshal(k)
	if err == nil {
		err = storefault.Of(bucket.WriteAll(ctx, installationKey, text, &blob.WriterOptions{ContentType: "application/json"}))
	}
	if err != nil {
		return false, fmt.Errorf("keep which Redis the datasets belong to: %w", err)
	}
	return first, nil
}
