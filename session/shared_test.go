package session

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestTwoTorrentsOneFile: a torrent never writes over what belongs to another,
// and removing one leaves the files of the other alone.
func TestTwoTorrentsOneFile(t *testing.T) {
	t.Parallel()
	first := makeContent(t, 32<<10, map[string]int{"x": 400000})
	other := makeContent(t, 64<<10, map[string]int{"x": 400001})
	same := makeContent(t, 16<<10, map[string]int{"x": 400000}) // the same bytes in other pieces
	seed := seedOf(t, other, nil)

	s := open(t, nil)
	add(t, s, first, AddOptions{Dir: first.dir})
	await(t, s, first, "the first", complete)
	before, err := os.ReadFile(filepath.Join(first.dir, "content", "x"))
	if err != nil {
		t.Fatal(err)
	}

	add(t, s, other, AddOptions{Dir: first.dir, Peers: addrs(seed)})
	v := await(t, s, other, "the error", func(v Torrent) bool { return v.State == StateError })
	if !strings.Contains(v.Error, "content/x") || !strings.Contains(v.Error, first.meta.Hash.String()) {
		t.Errorf("the error names neither file nor torrent: %q", v.Error)
	}
	// Another torrent of the same bytes is welcome: it has nothing to write.
	add(t, s, same, AddOptions{Dir: first.dir})
	await(t, s, same, "the one with the same bytes", complete)

	if err := s.Remove(t.Context(), same.meta.Hash, true); err == nil || !strings.Contains(err.Error(), "kept") {
		t.Errorf("removing with data said %v, want that the files are kept", err)
	}
	if err := s.Remove(t.Context(), other.meta.Hash, false); err != nil {
		t.Fatal(err)
	}
	after, err := os.ReadFile(filepath.Join(first.dir, "content", "x"))
	if err != nil || string(after) != string(before) {
		t.Errorf("the file has changed: %d bytes, %v", len(after), err)
	}
	if err := s.Remove(t.Context(), first.meta.Hash, true); err != nil {
		t.Errorf("removing the last one with its data: %v", err)
	}
}
