// Package storage opens what keeps the blobs of uploads and artifacts: a folder of the data folder,
// or a bucket of an S3 store.
//
// A store is named by the setting storage.url. [Open] checks that it can write, read and delete,
// since an error at the start is worth more than one at the first upload. Credentials come from the
// AWS environment, its shared files, or a file of the same form that a setting names. They are never
// part of a URL.
//
// # A store that is slow, or away
//
// The AWS SDK has no bound of its own on a request: it makes up to 3 attempts, waits up to 20 s
// between them, and then waits for an answer for as long as the connection stands. Here a
// connection that moves no byte for 30 s ends ([stallTimeout]), a request makes up to 4 attempts
// with at most 2 s between them, and the end of a context ends its call at once. So a store that
// swallows everything holds a call for about 2 minutes, and a slow one that makes progress for as long as
// it makes progress.
package storage
