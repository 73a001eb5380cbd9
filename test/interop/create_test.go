//go:build interop && linux

package interop

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"btd/test/netns"
)

// created is a tree, and how a torrent is made of it.
type created struct {
	name    string
	files   map[string]int // path and bytes; the first element is the torrent's name
	log2    []int          // piece lengths
	private bool
	source  string
}

var creations = []created{
	{name: "one file", files: map[string]int{"image.bin": 3_000_000}, log2: []int{15, 16, 18, 22}},
	{name: "one small file", files: map[string]int{"x": 1}, log2: []int{15, 20}},
	{name: "whole pieces", files: map[string]int{"x": 4 << 20}, log2: []int{15, 20, 22}},
	{name: "private", files: map[string]int{"image.bin": 100_000}, log2: []int{16}, private: true},
	{name: "with a source", files: map[string]int{"image.bin": 100_000}, log2: []int{16}, source: "LAB"},
	{name: "nested", log2: []int{15, 17, 20}, private: true, source: "both", files: map[string]int{
		"r/a/b/c/deep.bin": 1_000_000, "r/a/b/d": 70_000, "r/a/e": 1, "r/z": 200_000, "r/m/n": 33_333,
	}},
	{name: "empty files", log2: []int{15, 18}, files: map[string]int{
		"r/0": 0, "r/a": 50_000, "r/b": 0, "r/c/d": 0, "r/e": 80_000, "r/zz": 0,
	}},
	{name: "separator order", log2: []int{15, 16}, files: map[string]int{
		"r/a/b": 40_001, "r/a.b": 40_002, "r/a-b": 40_003, "r/a b": 40_004, "r/a0": 40_005, "r/a/b.c": 40_006, "r/B": 40_007, "r/a+": 40_008, "r/aa/a": 40_009,
	}},
	{name: "many scripts, hidden", log2: []int{15, 19}, files: map[string]int{
		"r/é": 40_001, "r/日本/語.txt": 40_002, "r/\U0001F600": 40_003, "r/z": 40_004, "r/e\u0301": 40_005, "r/~": 40_006,
		"r/.hidden": 40_007, "r/.dir/x": 40_008, "r/Ünïcödé name (1) [x].txt": 40_009,
	}},
	{name: "many small files", log2: []int{15, 18}, files: many(700)},
}

func many(n int) map[string]int {
	files := map[string]int{}
	for i := range n {
		files[fmt.Sprintf("r/%02x/%d.bin", i%17, i)] = i * 13 % 3000
	}
	return files
}

// TestCreate makes torrents with btctl and with mktorrent, whose info-hashes
// must be equal, and has transmission-show and libtorrent read those of btctl.
func TestCreate(t *testing.T) {
	need(t, "mktorrent", "transmission-show", "/usr/bin/python3")
	btctl := filepath.Join(scratch, "btctl")
	must(t, netns.Build(btctl, "btd/cmd/btctl", false))
	for _, c := range creations {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			name := c.write(t, dir)
			for _, n := range c.log2 {
				ours := filepath.Join(dir, fmt.Sprintf("ours-%d.torrent", n))
				args := []string{"create", name, "-o", ours, "--piece-size", strconv.Itoa(1<<n) + "B", "--tracker", "http://192.0.2.1/announce"}
				theirs := filepath.Join(dir, fmt.Sprintf("theirs-%d.torrent", n))
				rival := []string{"-l", strconv.Itoa(n), "-o", theirs, "-a", "http://192.0.2.1/announce"}
				if c.private {
					args, rival = append(args, "--private"), append(rival, "-p")
				}
				if c.source != "" {
					args, rival = append(args, "--source", c.source), append(rival, "-s", c.source)
				}
				hash := strings.TrimSpace(output(t, dir, btctl, args...))
				if len(hash) != 40 {
					t.Fatalf("btctl create printed %q", hash)
				}
				output(t, dir, "mktorrent", append(rival, name)...)
				for who, got := range map[string]string{
					"mktorrent":             transmissionHash(t, dir, theirs),
					"transmission-show":     transmissionHash(t, dir, ours),
					"libtorrent":            libtorrentHash(t, dir, ours),
					"libtorrent, mktorrent": libtorrentHash(t, dir, theirs),
				} {
					if got != hash {
						t.Errorf("pieces of 2^%d: btctl says %s, %s says %s", n, hash, who, got)
					}
				}
			}
		})
	}
}

// write makes the tree below dir and returns the name at its top.
func (c *created) write(t *testing.T, dir string) (name string) {
	t.Helper()
	for p, size := range c.files {
		full := filepath.Join(dir, filepath.FromSlash(p))
		must(t, os.MkdirAll(filepath.Dir(full), 0o755))
		b := make([]byte, size)
		var seed [32]byte
		copy(seed[:], p)
		_, _ = rand.NewChaCha8(seed).Read(b)
		must(t, os.WriteFile(full, b, 0o644))
		name, _, _ = strings.Cut(p, "/")
	}
	return name
}

// output runs a program in dir and returns what it prints.
func output(t *testing.T, dir, name string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var problems strings.Builder
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir, cmd.Stderr = dir, &problems
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %q: %v\n%s%s", name, args, err, out, problems.String())
	}
	return string(out)
}

var shownHash = regexp.MustCompile(`(?m)^\s*Hash: ([0-9a-f]{40})$`)

func transmissionHash(t *testing.T, dir, file string) string {
	t.Helper()
	m := shownHash.FindStringSubmatch(output(t, dir, "transmission-show", file))
	if m == nil {
		t.Fatalf("transmission-show names no hash of %s", file)
	}
	return m[1]
}

func libtorrentHash(t *testing.T, dir, file string) string {
	t.Helper()
	const script = "import sys, libtorrent; print(libtorrent.torrent_info(sys.argv[1]).info_hash())"
	return strings.TrimSpace(output(t, dir, "/usr/bin/python3", "-c", script, file))
}
