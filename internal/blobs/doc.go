// Package blobs knows what the keys of the blob store mean: where an upload and an
// artifact stand, what an artifact is called outside, and which blobs a job may read. It
// does not read or write any.
//
//	incoming/<topic>/<job>       what was uploaded for a job
//	artifacts/<job>/<name>       what a job has written; "<job>.<name>" to clients
//
// A key is a path of plain segments that every store takes as it is.
package blobs
