package session

import (
	"os"
	"path/filepath"
	"testing"
)

// rationed is a seed that gives as many blocks as it was allowed to, and is
// silent then: a download from it comes that far, and stays there.
type rationed struct {
	*fakeSeed
	left chan struct{} // a block each
}

// rationedSeed is a peer that has all of c, and gives nothing yet.
func rationedSeed(t *testing.T, c content) *rationed {
	t.Helper()
	r := &rationed{fakeSeed: newFakeSeed(t, c.flat(t), "127.0.0.1"), left: make(chan struct{}, 1<<16)}
	end := make(chan struct{})
	t.Cleanup(func() { close(end) })
	r.lie = func(_, _ uint32) bool {
		select {
		case <-r.left:
		case <-end:
		}
		return false
	}
	go r.run()
	return r
}

// give allows it n more blocks.
func (r *rationed) give(n int) {
	for range n {
		r.left <- struct{}{}
	}
}

// flat has the files of c, which may be many, as one.
func (c content) flat(t *testing.T) content {
	t.Helper()
	f := content{dir: t.TempDir(), file: c.file, meta: c.meta}
	var all []byte
	for _, x := range c.meta.Files {
		all = append(all, read(t, filepath.Join(c.dir, filepath.FromSlash(x.Path)))...)
	}
	if err := os.WriteFile(filepath.Join(f.dir, "content"), all, 0o644); err != nil {
		t.Fatal(err)
	}
	return f
}
