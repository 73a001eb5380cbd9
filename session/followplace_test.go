package session

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

// TestAVersionDoesNotCutFilesOfAnotherTorrent has a publisher name a file of a
// torrent that is here already, first as long as it is and then shorter.
func TestAVersionDoesNotCutFilesOfAnotherTorrent(t *testing.T) {
	t.Parallel()
	theirs := makeContent(t, 32<<10, map[string]int{"a": 300_000, "b": 100_000})
	one := theirs.version(t, "content", func(dir string) {
		scribbleAll(t, filepath.Join(dir, "a"), 300_000)
		scribbleAll(t, filepath.Join(dir, "b"), 100_000)
	})
	two := one.version(t, "content", func(dir string) { scribbleAll(t, filepath.Join(dir, "a"), 10) })
	seed := seedOf(t, one, nil)
	add(t, seed, two, AddOptions{Dir: two.dir})
	p := newSigner(3, "")
	fake := &itemsDHT{peer: seed.Addr()}
	s := open(t, withItems(fake))
	copyOf(t, theirs, s.cfg.Dir)
	add(t, s, theirs, AddOptions{})
	await(t, s, theirs, "completion", complete)
	for i, v := range []content{one, two} {
		fake.set(p.item(t, int64(i+1), v), 0)
		if i == 0 {
			startFollowing(t, s, p, FollowOptions{})
		}
		lookNow(t, s, p)
		until(t, "switch", func() bool { return s.Follows()[0].Current.Seq == int64(i+1) })
	}
	theirs.same(t, s.cfg.Dir)
}

// scribbleAll makes a file n bytes of something else.
func scribbleAll(t *testing.T, path string, n int) {
	t.Helper()
	if err := os.WriteFile(path, bytes.Repeat([]byte{'x'}, n), 0o644); err != nil {
		t.Fatal(err)
	}
}
