package create

import (
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// window is how much of a file Linux reads ahead at least on one request,
// bytes; of longer ones it may drop the rest.
const window = 128 << 10

// readAhead starts reading r's [off, off+n) into the page cache. Whether it
// can does not matter.
func readAhead(r io.ReaderAt, off, n int64) {
	f, ok := r.(*os.File)
	if !ok {
		return
	}
	for end := off + n; off < end; off += window {
		if unix.Fadvise(int(f.Fd()), off, min(window, end-off), unix.FADV_WILLNEED) != nil {
			return
		}
	}
}
