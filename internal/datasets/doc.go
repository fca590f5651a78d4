// Package datasets keeps what is known of datasets: tables that jobs have made of uploaded files, and that
// exports and analyses name. A dataset's ID is that of its job, its owner the job's topic.
//
// A dataset is two blobs, datasets/<topic>/<job>/data and the manifest.json beside it; Redis knows nothing
// of it. data holds the bytes as they were uploaded, compressed ones too. The manifest is written after them,
// so a dataset that [Get] finds is whole.
//
// A job that names a dataset pins it, in Redis, in the commit that accepts the job, until it can no longer be
// retried. [Delete] marks the manifest first: from then on Get does not find the dataset. Then it marks the
// dataset in Redis, which refuses new pins. Then it looks for pins, and deletes the bytes where there
// is none. Jobs with a pin read on, with [Held]. What is left marked, by a pin or by a crash, [Retention] deletes
// once nothing pins it.
//
// A key begins with the owner's topic. A caller that asks for the dataset of another topic gets [ErrNotFound], as
// for one that does not exist.
package datasets
