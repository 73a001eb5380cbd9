package session

import (
	"os"
	"path/filepath"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// unwritten tells whether a part of the file is in memory only: the file
// system has not even chosen its place on the disk.
func unwritten(t *testing.T, path string) bool {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	const (
		fiemap   = 0xc020660b // FS_IOC_FIEMAP
		delalloc = 0x4        // FIEMAP_EXTENT_DELALLOC
	)
	var m struct { // struct fiemap, with the first extent
		start, length                   uint64
		flags, mapped, extents, padding uint32
		logical, physical, n            uint64
		_                               [2]uint64
		kind                            uint32
		_                               [3]uint32
	}
	m.length, m.extents = ^uint64(0), 1
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, f.Fd(), fiemap, uintptr(unsafe.Pointer(&m))); errno != 0 {
		return false
	}
	return m.mapped > 0 && m.kind&delalloc != 0
}

// TestAdoptedContentIsOnTheDisk: content that was copied a moment ago is claimed
// only once it cannot be lost with the power.
func TestAdoptedContentIsOnTheDisk(t *testing.T) {
	t.Parallel()
	dir, files := small(t, 1)
	path := filepath.Join(dir, "small-00000")
	if !unwritten(t, path) {
		t.Skip("the file system of the temporary directory does not tell what is in memory only")
	}
	s := open(t, nil)
	v, _, err := s.Add(t.Context(), files[0], AddOptions{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	if v.State == StateSeeding && unwritten(t, path) {
		t.Error("the torrent is recorded as complete, and its content is in memory only")
	}
}
