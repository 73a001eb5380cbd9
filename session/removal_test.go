package session

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

// TestRemoveLeavesWhatWasNeverWanted: at the path of a skipped file may be
// something of the user's own. What was wanted once goes.
func TestRemoveLeavesWhatWasNeverWanted(t *testing.T) {
	t.Parallel()
	c := makeContent(t, 32<<10, map[string]int{"a": 32 << 12, "b": 32 << 12, "c": 300000})
	seed := seedOf(t, c, nil)
	s := open(t, nil)
	mine := filepath.Join(s.cfg.Dir, "content", "a")
	if err := os.Mkdir(filepath.Dir(mine), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(mine, []byte("mine"), 0o644); err != nil {
		t.Fatal(err)
	}
	b := indexOf(t, seed, c, "/b")
	add(t, s, c, AddOptions{Peers: addrs(seed), Only: []int{b, indexOf(t, seed, c, "/c")}})
	await(t, s, c, "what is wanted", complete)
	if err := s.SetPriorities(t.Context(), c.meta.Hash, map[int]Priority{b: Skip}); err != nil {
		t.Fatal(err)
	}
	s = reopen(t, s) // all files that are there are recorded by then
	if err := s.Remove(t.Context(), c.meta.Hash, true); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(mine); err != nil || string(got) != "mine" {
		t.Errorf("the user's own file reads %q, %v", got, err)
	}
	for _, name := range []string{"b", "c"} {
		if _, err := os.Stat(filepath.Join(s.cfg.Dir, "content", name)); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: %v, want it gone", name, err)
		}
	}
}
