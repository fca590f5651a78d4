package e2e

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"testing"
)

// tableSize is how large a file is that is to last for a while.
func tableSize() int {
	if soak {
		return 4 * tableBytes
	}
	return tableBytes
}

// writeTable writes a CSV of at least so many bytes, and returns its path and its number
// of rows without the header.
func writeTable(t *testing.T, name string, sizeBytes int) (path string, rows int) {
	t.Helper()
	return writeRows(t, name, sizeBytes, "id,amount,customer,country,ordered_at,note\n",
		[7]string{"", ",", ",customer-", ",", ",2025-1", ",", "\n"})
}

// writeLines writes the same rows as NDJSON.
func writeLines(t *testing.T, name string, sizeBytes int) (path string, rows int) {
	t.Helper()
	return writeRows(t, name, sizeBytes, "",
		[7]string{`{"id":`, `,"amount":`, `,"customer":"customer-`, `","country":"`, `","ordered_at":"2025-1`, `","note":"`, "\"}\n"})
}

// writeRows writes a header and rows, whose values stand between the texts.
func writeRows(t *testing.T, name string, sizeBytes int, header string, around [7]string) (path string, rows int) {
	t.Helper()
	path = filepath.Join(t.TempDir(), name)
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w := bufio.NewWriterSize(f, 1<<20)
	written, err := w.WriteString(header)
	if err != nil {
		t.Fatal(err)
	}
	random := rand.New(rand.NewPCG(uint64(sizeBytes), 1))
	countries := []string{"AT", "BR", "CH", "DE", "FR", "JP", "PL", "US"}
	const hex = "0123456789abcdef"
	var record []byte
	for ; written < sizeBytes; rows++ {
		record = append(record[:0], around[0]...)
		record = strconv.AppendInt(record, int64(rows), 10)
		record = append(record, around[1]...)
		record = strconv.AppendFloat(record, random.ExpFloat64()*80, 'f', 2, 64)
		record = append(record, around[2]...)
		record = strconv.AppendInt(record, random.Int64N(50_000), 10)
		record = append(record, around[3]...)
		record = append(record, countries[random.IntN(len(countries))]...)
		record = append(record, around[4]...)
		record = strconv.AppendInt(record, random.Int64N(3), 10)
		record = append(record, "-1"...)
		record = strconv.AppendInt(record, random.Int64N(10), 10)
		record = append(record, around[5]...)
		for range 24 {
			record = append(record, hex[random.IntN(len(hex))])
		}
		record = append(record, around[6]...)
		n, _ := w.Write(record) // Flush tells of an error
		written += n
	}
	if err := errors.Join(w.Flush(), f.Sync()); err != nil {
		t.Fatal(err)
	}
	return path, rows
}

func sizeOf(t *testing.T, path string) int64 {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Size()
}

// digest is a file's SHA-256, in hex.
func digest(t *testing.T, path string) string {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		t.Fatal(err)
	}
	return hex.EncodeToString(h.Sum(nil))
}
