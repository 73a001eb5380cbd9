package gauge

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
)

const ticks = 100 // a second, in /proc/PID/stat on every Linux that Go runs on

// CPU is the processor time that a process has used, seconds, user and system,
// all threads.
func CPU(pid int) (float64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	f := bytes.Fields(b[bytes.LastIndexByte(b, ')')+1:])
	sum := 0.0
	for _, field := range f[11:13] {
		n, _ := strconv.ParseFloat(string(field), 64)
		sum += n / ticks
	}
	return sum, nil
}

// Numbers reads lines such as "VmRSS:  123 kB" of a file in /proc.
func Numbers(path string) map[string]int64 {
	out := map[string]int64{}
	b, _ := os.ReadFile(path)
	for line := range bytes.Lines(b) {
		name, rest, _ := bytes.Cut(line, []byte(":"))
		if f := bytes.Fields(rest); len(f) > 0 {
			if n, err := strconv.ParseInt(string(f[0]), 10, 64); err == nil {
				out[string(name)] = n
			}
		}
	}
	return out
}

// Status is what /proc tells of the state of a process: memory in KiB.
func Status(pid int) map[string]int64 { return Numbers(fmt.Sprintf("/proc/%d/status", pid)) }
