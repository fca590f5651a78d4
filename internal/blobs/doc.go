// Package blobs knows what the keys of the blob store mean: where an upload and an
// artifact stand, what an artifact is called outside, and which blobs a job may read. It
// does not read or write any.
//
//	incoming/<topic>/<job>                                     what was uploaded for a job
//	incoming/.uploads/…                                        what gateways know of uploads
//	artifacts/<topic>/<job>/<name>/<attempt>.<token>-<index>   a part of what a job has written
//	artifacts/<topic>/<job>/<name>/<attempt>.<token>.json      the manifest of an attempt that closed it
//	artifacts/<topic>/<job>/<name>/manifest.json               the manifest that readers see
//	owners/<job>                                               the topic of a job with artifacts
//	datasets/<topic>/<job>/data                                the bytes of the dataset that a job has made of an upload
//	datasets/<topic>/<job>/manifest.json                       what is known of it
//
// An artifact is "<job>.<name>" to clients. Every part has its attempt's token in its key, since a
// failover of Redis may count attempts twice. A key is a path of plain segments that every store takes as
// it is: a topic has a colon and no slash, so no segment is "..".
package blobs
