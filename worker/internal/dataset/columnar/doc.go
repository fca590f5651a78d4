// Package columnar reads the rows of an Apache Parquet file as NDJSON text, as a stream, so that what reads NDJSON
// reads Parquet as well.
//
// The text of a file is the same each time, so a reader goes on by reading it again up to an offset. Each row is
// an object of all columns in the file's order, with null for what a row does not have.
//
// # Values
//
// Numbers keep all their digits: integers of 64 bits without a sign as well, and decimals with as many digits
// behind the point as their scale says. Floats have the fewest digits that read back as the same float of 32 or
// 64 bits; NaN and the infinities are null. Dates are 2006-01-02. Times of a day are 15:04:05, and moments
// 2006-01-02T15:04:05, with as many digits of a second as they need, up to nine. Moments that the file says are
// in UTC end with Z; INT96 is without. A time outside of a day is null. Intervals are ISO 8601's durations
// in months, days and seconds. UUIDs have hyphens. JSON is embedded, on one line, and is text if it is not valid,
// not UTF-8, or more than 500 levels deep. Bytes in text that are no UTF-8 become U+FFFD.
//
// Bytes of which the file does not say what they are: many writers store text so, and others images. A stream
// cannot look at all values of a column before it writes the first, so each value decides for itself: it is text
// if it is UTF-8 without control characters other than tabs and line ends, and otherwise hexadecimal digits behind
// \x, as exports have bytes. A text that begins with \x is written as digits as well, so no two values have the
// same text.
//
// Groups are objects, lists are arrays, and maps are objects whose keys are the keys' text.
//
// # What is refused
//
// Encrypted files, columns in other files, types, encodings and codecs that cannot be read (the deprecated LZ4, LZO
// and BIT_PACKED, and VARIANT), two columns of the same name in one group, groups without columns, row groups that
// have other rows than the file, or columns with more bytes than the file, and data that is damaged. The bounds:
// 16 MiB of footer, 10,000 elements of the schema, 2,000 columns, 32 levels of groups, 128 KiB of names as JSON has
// them, 100,000 row groups, 1 MiB of a page's header, 128 MiB of a page, 1 MiB of values of a fixed length, and
// 8 MiB of a row's text. Every refusal wraps [table.ErrRefused]. An error of the io.ReaderAt is returned as it is,
// wrapped, and the cause of the context's end as well, which is looked at within a row too.
//
// # Memory
//
// The pages of a row group that are being read, one of each column, are in memory, and the columns' dictionaries,
// values that are put together from parts of a page, one page before it is decompressed, and what decompressing it
// takes: 16 MiB with Brotli, and with Zstandard its size and a quarter, so that a page of more than about 110 MiB
// is refused there. All that is 256 MiB at most. Not counted are 16 MiB that are read ahead and 1 MiB of the
// header that is being read, the footer with its schema, and the text of 64 KiB and a row, which may have twice
// its 8 MiB, and a copy, before it is refused.
//
// Values are decoded from a page one by one, so that what a page says of itself makes no memory. Pages' headers
// are checked, and pages are decompressed to their stated size and no further, before a value is read. What a page
// had is let go before the next one of its column is made, and all pages of a row group before those of the next.
//
// # Requests
//
// Each ReadAt may be a request of its own: two or three for the footer, and for each column of a row group one per
// 256 KiB or page, whatever is more; columns share 16 MiB where there are more than 64.
//
// The format is described in parquet.thrift, Encodings.md, Compression.md and LogicalTypes.md of
// apache/parquet-format.
package columnar
