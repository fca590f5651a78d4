// Package datasets keeps what is known of datasets: tables that jobs have made of uploaded files, and that
// exports and analyses name. A dataset's ID is that of its job, its owner the job's topic.
//
// A dataset is two blobs, datasets/<topic>/<job>/data and the manifest.json beside it; Redis knows nothing
// of it. data holds the bytes as they were uploaded, compressed ones too. The manifest is written after them,
// so a dataset that [Get] finds is whole. [Delete] marks the manifest before it deletes the bytes, and from
// then on Get does not find the dataset.
//
// A key begins with the owner's topic. A caller that asks for the dataset of another topic gets [ErrNotFound], as
// for one that does not exist.
package datasets
