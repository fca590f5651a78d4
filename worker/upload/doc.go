// Package upload makes a dataset of an uploaded file: a table that exports and analyses name. [Run] is the
// processor of a job.
//
// It reads the file once. It unpacks gzip, Zstandard or a zip archive of one file, finds out how the table is
// written, counts and checks its rows, learns the kinds of its columns, and sums up the bytes with SHA-256. Then
// it keeps the bytes, as they were uploaded, under datasets/<topic>/<job>/data, and writes the manifest beside
// them, which is what makes the dataset. The uploaded file itself goes with its job as before.
//
// # Rejected rows
//
// A row that is no row of the table is rejected: package dataset says when. Rejected rows are counted, the
// dataset's manifest and the job's result show the first 100 with line and reason, and the artifact
// rejected.ndjson has all of them, a line each: {"line", "reason", "text"}, the text as it is in the file up
// to 4 KiB, "clipped" where it is longer. A job fails for good where more rows are rejected than
// MaxRejectedPercent, 10 by default, of all; the artifact is there then too.
//
// # The same dataset, however often interrupted
//
// A checkpoint is where a row begins, or a part of a long line, with all that was gathered before: counts, the
// columns' names and kinds, the preview, the state of SHA-256, and the artifact's. Nothing in it depends on
// time or chance, so an upload that was killed and resumed at any rows ends with the bytes of one that was
// left alone; the manifest's time is that of the job's ID. SHA-256 of a packed file is summed up again while
// it is unpacked up to the checkpoint.
//
// # Bounds
//
// Memory is a few reads of 256 KiB, the longest record twice, and the window of a decoder, at most 32 MiB. A
// checkpoint has at most 64 KiB of names, 2,000 columns, 100 reasons and a preview of 20 rows or 16 KiB.
package upload
