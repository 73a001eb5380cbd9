package storage

import (
	"os"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"
)

// witness is an open directory through which a whole file system can be
// synced. It hears of every write to the disk that failed since it was opened.
type witness struct {
	f   *os.File
	dev uint64

	// Guarded by the tree's lock.
	refs  int  // of those who sync without it
	stale bool // to be closed with the last of them
}

// witnessed are the file systems whose syncfs makes files and directory
// entries durable and tells errors.
var witnessed = [...]int64{
	unix.EXT4_SUPER_MAGIC, unix.XFS_SUPER_MAGIC, unix.BTRFS_SUPER_MAGIC, unix.F2FS_SUPER_MAGIC, unix.TMPFS_MAGIC,
}

// openWitness returns nil where only files can be synced one by one.
func openWitness(root *os.Root) *witness {
	if !tellsErrors() {
		return nil
	}
	f, err := root.Open(".")
	if err != nil {
		return nil
	}
	var st unix.Stat_t
	var fs unix.Statfs_t
	if unix.Fstat(int(f.Fd()), &st) != nil || unix.Fstatfs(int(f.Fd()), &fs) != nil || !slices.Contains(witnessed[:], int64(fs.Type)) {
		f.Close()
		return nil
	}
	return &witness{f: f, dev: uint64(st.Dev)}
}

// tellsErrors tells whether syncfs reports writes that failed: it does since
// Linux 5.8.
func tellsErrors() bool {
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return false
	}
	var n [2]int
	part := 0
	for _, c := range u.Release {
		switch {
		case c >= '0' && c <= '9':
			n[part] = n[part]*10 + int(c-'0')
		case c == '.' && part == 0:
			part = 1
		default:
			return n[0] > 5 || n[0] == 5 && n[1] >= 8
		}
	}
	return false
}

// sync makes everything on the file system durable.
func (w *witness) sync() error {
	conn, err := w.f.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = conn.Control(func(fd uintptr) {
		for failed = unix.EINTR; failed == unix.EINTR; {
			failed = unix.Syncfs(int(fd))
		}
	})
	if err == nil {
		err = failed
	}
	return err
}

// holds tells whether a file is on the file system.
func (w *witness) holds(fi os.FileInfo) bool {
	st, ok := fi.Sys().(*syscall.Stat_t)
	return ok && uint64(st.Dev) == w.dev
}

func (w *witness) close() { w.f.Close() }
