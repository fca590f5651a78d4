// Package files is the commands about files: analyze, export, upload, download, datasets and sources.
//
// A command has a place, which takes files and gives what jobs have written: here, with the data folder and a worker
// of this process, or there, at a gateway. A batch is its files and their jobs, which are followed to their end. What
// is written for the user gathers in a file with ".part" behind its name, which another run goes on with, and gets
// its name when its SHA-256 is the artifact's. An empty file with ".part.tidemark" behind its name marks the part.
package files
