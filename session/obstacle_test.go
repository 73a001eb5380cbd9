package session

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestFileInTheWay: a file stands where a directory should be. It is not ours
// and is left alone; once it is gone the download goes on by itself.
func TestFileInTheWay(t *testing.T) {
	t.Parallel()
	c := makeContent(t, 64<<10, map[string]int{"sub/x": 300000, "y": 300000})
	seed := seedOf(t, c, nil)
	leech := open(t, nil)
	sub := filepath.Join(leech.cfg.Dir, "content", "sub")
	if err := os.Mkdir(filepath.Dir(sub), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(sub, []byte("mine"), 0o644); err != nil {
		t.Fatal(err)
	}
	add(t, leech, c, AddOptions{Peers: addrs(seed)})
	v := await(t, leech, c, "the error", func(v Torrent) bool { return v.State == StateError })
	if !strings.Contains(v.Error, sub) {
		t.Errorf("the error does not name the file: %q", v.Error)
	}
	if b, err := os.ReadFile(sub); err != nil || string(b) != "mine" {
		t.Errorf("the file in the way was touched: %q, %v", b, err)
	}
	if err := os.Remove(sub); err != nil {
		t.Fatal(err)
	}
	await(t, leech, c, "completion", complete)
	c.same(t, leech.cfg.Dir)
}

// TestFileInPlaceOfTheDownloadDirectory is the same one level up.
func TestFileInPlaceOfTheDownloadDirectory(t *testing.T) {
	t.Parallel()
	c := makeContent(t, 64<<10, map[string]int{"": 300000})
	seed := seedOf(t, c, nil)
	leech := open(t, nil)
	if err := os.Remove(leech.cfg.Dir); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(leech.cfg.Dir, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	add(t, leech, c, AddOptions{Peers: addrs(seed)})
	v := await(t, leech, c, "the error", func(v Torrent) bool { return v.State == StateError })
	if !strings.Contains(v.Error, leech.cfg.Dir) {
		t.Errorf("the error does not name the directory: %q", v.Error)
	}
	if err := os.Remove(leech.cfg.Dir); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(leech.cfg.Dir, 0o755); err != nil {
		t.Fatal(err)
	}
	await(t, leech, c, "completion", complete)
	c.same(t, leech.cfg.Dir)
}
