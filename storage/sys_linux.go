package storage

import (
	"errors"
	"math"
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"btd/piece"
)

// openFlags are added when an existing file is opened: a pipe or a link that
// was put there meanwhile must neither block nor be followed.
const openFlags = unix.O_NOFOLLOW | unix.O_NONBLOCK

// vector is the scratch memory of gathered writes.
type vector struct {
	iov  []unix.Iovec
	file *os.File // written to last
	most int      // bytes that one call writes to it
}

// writeAt writes n bytes of the blocks bufs, from byte pos of the first, to
// offset off of f, in as few system calls as it takes.
func (v *vector) writeAt(f *os.File, bufs []*piece.Buffer, pos, n int, off int64) error {
	fd := f.Fd()
	if v.file != f && n > piece.BlockSize {
		v.file, v.most = f, writeMost(fd)
	}
	for n > 0 {
		v.gather(bufs, pos, min(n, max(v.most, piece.BlockSize)))
		const longBits = 32 << (^uintptr(0) >> 63)
		done, _, errno := unix.Syscall6(unix.SYS_PWRITEV, fd, uintptr(unsafe.Pointer(&v.iov[0])), uintptr(len(v.iov)),
			uintptr(off), uintptr(uint64(off)>>(longBits-1)>>1), 0)
		switch {
		case errno == unix.EINTR:
			continue
		case errno != 0:
			return errno
		case done == 0:
			return unix.EIO
		}
		pos, n, off = pos+int(done), n-int(done), off+int64(done)
	}
	return nil
}

// writeMost is how many bytes to write to a file with one call. ext4 keeps what
// one call writes in one large page. On a virtual machine that gives free memory
// back to its host, large pages are always memory that the host must find
// first, which takes several times as long as the write; small ones are not. On
// other machines more calls cost next to nothing.
func writeMost(fd uintptr) int {
	var fs unix.Statfs_t
	if unix.Fstatfs(int(fd), &fs) == nil && fs.Type == unix.EXT4_SUPER_MAGIC {
		return piece.BlockSize
	}
	return math.MaxInt
}

// gather fills v with n bytes of bufs from byte pos on. Blocks that lie side by
// side in memory become one entry.
func (v *vector) gather(bufs []*piece.Buffer, pos, n int) {
	v.iov = v.iov[:0]
	end := uintptr(0)
	for n > 0 {
		at := pos % piece.BlockSize
		k := min(piece.BlockSize-at, n)
		b := &bufs[pos/piece.BlockSize][at]
		if start := uintptr(unsafe.Pointer(b)); start == end {
			last := &v.iov[len(v.iov)-1]
			last.SetLen(int(last.Len) + k)
		} else {
			e := unix.Iovec{Base: b}
			e.SetLen(k)
			v.iov = append(v.iov, e)
		}
		end = uintptr(unsafe.Pointer(b)) + uintptr(k)
		pos, n = pos+k, n-k
	}
}

func (v *vector) clear() { clear(v.iov[:cap(v.iov)]) }

// syncData makes f's content and size durable.
func syncData(f *os.File) error {
	for {
		if err := unix.Fdatasync(int(f.Fd())); err != unix.EINTR {
			return err
		}
	}
}

// startSync asks the system to begin writing f's content out, without waiting.
func startSync(f *os.File) {
	_ = unix.SyncFileRange(int(f.Fd()), 0, 0, unix.SYNC_FILE_RANGE_WRITE) // a hint: syncData tells errors
}

// dropPages asks the system to forget what it keeps of f in memory.
func dropPages(f *os.File) {
	_ = unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED) // a request: it may be refused
}

func syncDirectory(f *os.File) error {
	err := f.Sync()
	if errors.Is(err, unix.EINVAL) { // some file systems can't sync directories
		return nil
	}
	return err
}

// unlinked tells whether f no longer has a name.
func unlinked(f *os.File) bool {
	var st unix.Stat_t
	return unix.Fstat(int(f.Fd()), &st) == nil && st.Nlink == 0
}

// preallocate reserves n bytes for f. A file system that cannot is fine.
func preallocate(f *os.File, n int64) error {
	for {
		switch err := unix.Fallocate(int(f.Fd()), 0, 0, n); err {
		case unix.EINTR:
		case unix.EOPNOTSUPP, unix.ENOSYS, unix.EINVAL:
			return nil
		default:
			return err
		}
	}
}

// punch makes a hole of n bytes at off, and tells whether that was possible.
func punch(f *os.File, off, n int64) bool {
	return unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, off, n) == nil
}

// nextData is the first range of f's [off, end) that holds data; from is end
// if there is none. Where the system cannot tell, everything is data.
func nextData(f *os.File, off, end int64) (from, to int64) {
	fd := int(f.Fd())
	from, err := unix.Seek(fd, off, unix.SEEK_DATA)
	switch {
	case err == unix.ENXIO, err == nil && from >= end:
		return end, end
	case err != nil:
		return off, end
	}
	to, err = unix.Seek(fd, from, unix.SEEK_HOLE)
	if err != nil || to > end {
		to = end
	}
	return from, to
}

// hasData tells whether any of f's [off, end) holds data.
func hasData(f *os.File, off, end int64) bool {
	from, err := unix.Seek(int(f.Fd()), off, unix.SEEK_DATA)
	if err != nil {
		return err != unix.ENXIO
	}
	return from < end
}

// Free is how many bytes an ordinary user may still write at path, -1 if that
// is not known.
func Free(path string) int64 {
	var st unix.Statfs_t
	if unix.Statfs(path, &st) != nil {
		return -1
	}
	return int64(st.Bavail) * int64(st.Bsize)
}

func tooManyFiles(err error) bool {
	return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE)
}

func isFull(err error) bool { return errors.Is(err, syscall.ENOSPC) }

func isQuota(err error) bool { return errors.Is(err, syscall.EDQUOT) }

func isReadOnly(err error) bool { return errors.Is(err, syscall.EROFS) }

func isBroken(err error) bool { return errors.Is(err, syscall.EIO) }

func isTooBig(err error) bool { return errors.Is(err, syscall.EFBIG) }

// prefetch starts reading f's [off, off+n) into the page cache. Whether it can
// is the system's business.
func prefetch(f *os.File, off, n int64) {
	_ = unix.Fadvise(int(f.Fd()), off, n, unix.FADV_WILLNEED)
}

// sizeAndTime is the size of an open file, and when it was written to (ns
// since 1970). It is asked after every read, so it allocates nothing.
func sizeAndTime(f *os.File) (size, modTime int64, err error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return 0, 0, err
	}
	return st.Size, st.Mtim.Nano(), nil
}

// clone makes dst share the blocks of src, and tells whether that was possible.
func clone(dst, src *os.File) bool { return unix.IoctlFileClone(int(dst.Fd()), int(src.Fd())) == nil }
