//go:build unix

package peerwire

import (
	"testing"

	"golang.org/x/sys/unix"
)

// cpuPerGiB reports the CPU seconds of this process per GiB, from now until
// the returned function is called; size is the bytes of one iteration.
func cpuPerGiB(b *testing.B, size int) func() {
	start := cpuSeconds()
	return func() {
		used := cpuSeconds() - start
		b.ReportMetric(used/(float64(b.N)*float64(size)/(1<<30)), "cpu-s/GiB")
	}
}

func cpuSeconds() float64 {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9
}
