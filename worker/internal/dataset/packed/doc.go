// Package packed reads the text of a blob that may be compressed, with gzip, with Zstandard or as the one
// file of a zip archive, or that is no text: an XLSX workbook and a Parquet file have one that their packages,
// workbook and columnar, say.
//
// [Detect] decides by the blob's first bytes, [Open] unpacks as a stream. Memory is bounded: 256 KiB of
// buffers, the 32 KiB window of deflate or up to 32 MiB of Zstandard's, the last 128 KiB of a zip archive,
// where its directory is, and what workbook and columnar say.
//
// # Going on
//
// Decompression cannot seek, so a stream that begins at an offset of the text unpacks all before it and
// throws it away. That costs what unpacking costs, several times less than reading rows, and needs no state:
// a gzip window or a Zstandard table kept in a checkpoint would tie checkpoints to the decoder's version. Text
// that is not packed is read from the offset on.
//
// # What is refused
//
// Text that is larger than Options.MaxUnpackedBytes, or more than MaxRatio times what it was unpacked from.
// Zip archives with more or less than one file; with a file that is encrypted, a link, a folder, packed by
// another method than deflate, or whose name leads out of a folder; with bytes before the file, between it
// and the directory, or after the directory, which other programs may read as another file; and whose
// directory and header disagree. Checksums and sizes are verified as the text is read. Whether the text is
// a packed file again, its reader decides. Every refusal wraps [table.ErrRefused].
package packed
