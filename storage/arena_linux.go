//go:build linux && !race

package storage

import "golang.org/x/sys/unix"

const hasArena = true

// reserve maps n bytes of zeros that cost no memory until they are touched.
func reserve(n int) []byte {
	b, err := unix.Mmap(-1, 0, n, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE|unix.MAP_NORESERVE)
	if err != nil {
		return nil // buffers come from the heap instead
	}
	return b
}

// release gives the memory under b back; b reads as zeros afterwards.
func release(b []byte) {
	_ = unix.Madvise(b, unix.MADV_DONTNEED) // a hint: without it the memory just stays
}

func unreserve(b []byte) { _ = unix.Munmap(b) }
