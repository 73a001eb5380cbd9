package resume

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"testing"
)

// residentFile is how much of mapped files counts as memory of this process,
// KiB.
func residentFile(t *testing.T) (kib int) {
	t.Helper()
	f, err := os.Open("/proc/self/status")
	must(t, err)
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if _, err := fmt.Sscanf(lines.Text(), "RssFile: %d kB", &kib); err == nil {
			return kib
		}
	}
	t.Skip("this system does not say")
	return 0
}

func TestReadingMuchLeavesLittleInMemory(t *testing.T) {
	const n, size = 64, 1 << 20
	path := testPath(t)
	d := testOpen(t, path)
	for i := range n {
		d.AddAsync(testRecord(i), bytes.Repeat([]byte{byte(i)}, size), nil)
	}
	must(t, d.Close())
	d = testOpen(t, path)
	before := residentFile(t)
	for i := range n {
		raw, err := d.Metainfo(testHash(i))
		if err != nil || len(raw) != size {
			t.Fatalf("%d bytes, %v", len(raw), err)
		}
	}
	must(t, d.Put("end", []byte{1})) // the writer is done with what came before
	must(t, d.Put("end", nil))
	// What the last reads mapped, and the kernel's reading around, may be left.
	if grown := residentFile(t) - before; grown > 2*trimBytes>>10+8<<10 {
		t.Errorf("%d KiB of the file are mapped after reading %d KiB", grown, n*size>>10)
	}
	checkPages(t, d)
}
