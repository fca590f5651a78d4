// Package analysis profiles a table, such as a CSV, in one streaming pass: how many
// rows there are and how many repeat others and, for each column, its type, nulls, distinct values, range,
// sum, mean, spread, quantiles, histogram, outliers, lengths and most frequent values, and how its numbers correlate with others.
//
// [Run] is the processor of a job: it reads a blob or a dataset, checkpoints its [State],
// writes the profile beside the job, in JSON and as a page for people ([Profile.HTML]), and reports a [Summary].
// [Analyze] does the same to any reader, without a job.
//
// # The same bytes, however often interrupted
//
// A State is everything that was gathered before a byte offset, at which a record
// begins. It is encoded without losing a bit, nothing in it is random, and
// saving it changes nothing. So a profile depends on the file alone: an analysis
// that was killed and resumed at any records ends with the same bytes as one that
// was left alone, and checkpoints may come at any time.
//
// # Memory
//
// An analysis holds the record it is reading, at most MaxRecordBytes, and its
// State, which is at most 960 KiB encoded and little more in memory. How large the
// sketches of a column may grow follows from the number of columns. In NDJSON,
// where columns turn up late, the sketches that are there shrink when a new one
// makes the table wider than its tier. For tables of up to so many columns:
//
//	columns           16     32     64    128    256    512   2000
//	distinct, s.e.  1.1 %  1.1 %  1.6 %  2.3 %  3.3 %  6.5 %   13 %
//	  exact up to   1024   1024    512    256    128     32      8
//	quantiles, rank 0.5 %  1.0 %  2.0 %  4.0 %  8.0 %   10 %      –
//	counters           64     36     20     10      4      3      –
//	bins               32     32     24     16     12      8      –
//
// More than 2,000 columns are an error.
//
// # Methods
//
// Distinct values are counted exactly, as a set of 64-bit hashes (xxHash), up to
// the number above. Beyond it they are estimated by HyperLogLog (Flajolet, Fusy,
// Gandouet and Meunier 2007, with the bias correction for small ranges that
// follows Heule, Nunkesser and Hall 2013) with 2^p registers: the standard error
// is 1.04/√(2^p), and 4 times that bounds practically all files. Spellings are
// counted: 1 and 1.0 are two values.
//
// Frequent values come from a Misra-Gries summary (Misra and Gries 1982; shown
// to be the same as the space-saving summary of Metwally, Agrawal and El Abbadi
// 2005 by Agarwal et al. 2012) of k counters. A count is never above the truth
// and at most n/(k+1) below it, n being the column's values; the profile says by
// how much at most (top_error), which is 0 where a column has at most k values.
//
// Quantiles are exact while the counters hold every value of the column. From
// then on they come from a merging t-digest (Dunning and Ertl 2019) with scale
// function k1. A t-digest has no proven bound; the table gives, as a share of all
// values, the rank error that no percentile from 1 to 99 exceeds on uniform,
// normal, exponential, lognormal and sorted columns, and a test holds it to that.
// It is best at both ends. In tables of more than 64 columns, a single value that
// makes up much of a column is averaged with its neighbours, so that ranks at its
// edge are off by more (by 0.12 to 0.4 of all values, measured on a column that is
// 62 % zeros), though by little in value.
//
// Mean and standard deviation follow Welford 1962, which does not cancel. The
// range of numbers, dates and texts is exact, but long texts are cut. The sum is exact within 128 bits, of
// integers within 64 bits and decimals of up to 18 digits; with any other number there is none.
//
// Histograms are exact. The width of their bins is the narrowest power of two, or of the units of
// clocks and calendars, with which the bins from the least to the greatest value are no more than the table has, so it
// follows from the range alone. Outliers are the numbers beyond Tukey's outer fences (Tukey 1977), at three
// times the distance between the quartiles; as exact as quantiles are.
//
// Repeated rows are all rows but the distinct ones, which are counted as distinct values are: exactly up
// to 8,192, then with a standard error of 0.41 percent of them. Correlations are Pearson's, in blocks of 64 rows that are put
// together by the formula of Chan, Golub and LeVeque 1983, of the rows in which both columns have a number,
// and of the first 32 columns that have one.
//
// Lengths of texts are in bytes, of UTF-8.
//
// # What counts as what
//
// How a file is written, package table finds out: encoding, line endings, delimiter, quotes, and
// titles above the header. A profile says what was found.
//
// An untyped cell is null if it is empty, blank, NULL, null, \N, N/A or #N/A. It is a boolean if it
// is true or false in any case, an
// integer or number by the usual spellings with a decimal point, and a date or
// timestamp if it begins with year, month and day; without a zone it is read as
// UTC. All else is a string. JSON values have their own types; strings there may be dates
// or timestamps, and an empty one is no null.
//
// Some cells are settled by their column. Digits that begin with a zero, or with a plus and are
// eight or more, are codes. A column with a code and otherwise only codes, texts and whole numbers
// without a sign is one of strings, so that post codes stay together. Words such as NA, nan or -
// are nulls where all other values are numbers, or dates, or booleans, and strings elsewhere: NA is
// a country too. Text that looks like a number with a decimal comma, separators, a percent sign
// or a currency is a string. Of the last two, of lines that were left out, and of whatever else may
// not be as it was meant, a profile has warnings.
//
// A dataset's columns have kinds already, and its cells are what those say: nothing is a code, a word for
// a missing value or a dressed number there, and texts stay texts.
//
// # Errors
//
// What lies in the file or the payload wraps [ErrInput]: trying again can't help. Its text is
// sentences for the person who has the file, with
// the record, the byte offset and the bound, where there is one. Rows
// with too few or too many fields and misplaced quotes are counted, not refused;
// lines of NDJSON that are no object are passed over up to MaxMalformed. An empty
// file is an error; one with nothing but a header has a profile of no rows.
package analysis
