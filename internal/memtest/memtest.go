// Package memtest measures the memory of benchmarks.
package memtest

import (
	"os"
	"strconv"
	"strings"
	"testing"
)

// ReportPeak reports, as peak-MiB, how far the process's resident memory rises above what it is now while do runs (VmHWM and VmRSS
// of proc_pid_status(5), on Linux alone). What the collector still holds from before is part of neither.
func ReportPeak(b *testing.B, do func()) {
	b.Helper()
	if err := os.WriteFile("/proc/self/clear_refs", []byte("5"), 0); err != nil { // VmHWM begins anew: proc_pid_clear_refs(5)
		b.Fatal("memory is measured on Linux alone: ", err)
	}
	before := kiB(b, "VmRSS")
	do()
	b.ReportMetric(float64(kiB(b, "VmHWM")-before)/1024, "peak-MiB")
}

func kiB(b *testing.B, name string) int64 {
	b.Helper()
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		b.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		if value, found := strings.CutPrefix(line, name+":"); found {
			n, err := strconv.ParseInt(strings.Fields(value)[0], 10, 64)
			if err != nil {
				b.Fatal(err)
			}
			return n
		}
	}
	b.Fatal("no " + name)
	return 0
}
