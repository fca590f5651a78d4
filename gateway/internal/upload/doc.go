// Package upload takes files over tus 1.0, with creation, creation-with-upload and
// termination. An upload is a job from its announcement, and its ID is the job's. tusd
// speaks the protocol, store.go keeps the bytes, transfer.go reports them, sweep.go mends
// what a crash left half done. folder.go describes what is where.
//
// Every step is in an order in which the next process can go on from any crash:
//
//	create:  files, then the job      files alone are removed when they are old
//	finish:  bytes, fsync, queue, settle   the sweep queues what is complete
//	cancel:  job, bytes, settle       the sweep removes the bytes of ended jobs
package upload
