// Package export is the processor that writes a dataset or a SQL source as a file: CSV, NDJSON, XLSX or
// Parquet, which the job hands over as its artifact.
//
// An attempt goes on where the last checkpoint was, and a checkpoint is made only at a boundary of the file,
// which the rows decide. So an export has the bytes of one that nothing disturbed, however often its worker
// dies. A checkpoint keeps where the source stood, the state of the file's writer, and how many rows were
// read and written; the artifact's bytes up to there are committed with it. A checkpoint of another request,
// of another dataset or of another version of the writers is not gone on with: the file begins anew.
//
// A SQL source is read in the order of its key, one snapshot an attempt, and the job's Summary lists the
// snapshots. So the bytes are those of an undisturbed export if the rows did not change in between. An error of
// the database that may pass, such as one that went away, fails the attempt, and the next one goes on; any
// other fails the job, as what is wrong with a payload does.
package export
