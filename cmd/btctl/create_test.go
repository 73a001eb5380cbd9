package main

import (
	"context"
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"btd/metainfo"
	"btd/metainfo/create"
)

// tree makes files whose content is their name, and goes to the directory
// above them.
func tree(t *testing.T, paths ...string) (top string) {
	t.Helper()
	top = t.TempDir()
	for _, p := range paths {
		full := filepath.Join(top, filepath.FromSlash(p))
		if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(full, []byte(p), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	t.Chdir(top)
	return top
}

func parsed(t *testing.T, name string) *metainfo.Metainfo {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	m, err := metainfo.Parse(b)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// names lists a directory: what a run leaves behind.
func names(t *testing.T, dir string) string {
	t.Helper()
	list, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, e := range list {
		all = append(all, e.Name())
	}
	return strings.Join(all, " ")
}

func TestCreate(t *testing.T) {
	tree(t, "r/a.b", "r/a/b", "r/.hidden", "r/sub/x.tmp", "r/sub/.more/y")
	r := world{}.run("create", "r", "--piece-size", "32KiB", "--private", "--source", "S", "--comment", "c", "--date", "2026-01-02",
		"--tracker", "http://a.example/,udp://b.example:1", "--tracker", "http://c.example/", "--web-seed", "http://w.example/", "--exclude", "*.tmp")
	m := parsed(t, "r.torrent")
	if r.code != 0 || r.out != m.Hash.String()+"\n" || r.err != "made r.torrent: 4 files (2 hidden), 32 B in 1 piece of 32 KiB\n" {
		t.Errorf("create: %v", r)
	}
	if got := names(t, "."); got != "r r.torrent" {
		t.Errorf("left behind: %s", got)
	}
	if !m.Private || m.Source != "S" || m.Comment != "c" || !m.Created.Equal(time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC)) ||
		len(m.Trackers) != 2 || strings.Join(m.Trackers[0], " ") != "http://a.example/ udp://b.example:1" || m.Trackers[1][0] != "http://c.example/" ||
		len(m.WebSeeds) != 1 || !strings.HasPrefix(m.CreatedBy, "btctl ") || m.PieceLength != 32<<10 {
		t.Errorf("made %+v", m)
	}
	if runtime.GOOS != "windows" {
		if i, err := os.Stat("r.torrent"); err != nil || i.Mode().Perm()&0o400 == 0 || i.Mode().Perm()&0o111 != 0 {
			t.Errorf("mode %v, %v", i.Mode(), err)
		}
	}

	// Neither date nor trackers change the id; --json says the same.
	r = world{}.run("create", "r", "--piece-size", "32KiB", "--private", "--source", "S", "--no-date", "--exclude", "*.tmp", "-o", "other", "--json")
	var c createdFile
	if err := json.Unmarshal([]byte(r.out), &c); err != nil || c.ID != m.Hash.String() || c.Files != 4 || c.Hidden != 2 || c.File != "other" || c.Size != 32 {
		t.Errorf("create --json: %v", r)
	}
	if m := parsed(t, "other"); !m.Created.IsZero() || m.Trackers != nil {
		t.Errorf("made %+v", m)
	}
	r = world{}.run("create", "r", "-o", "-")
	if m, err := metainfo.Parse([]byte(r.out)); err != nil || len(m.Files) != 5 || time.Since(m.Created).Abs() > time.Hour {
		t.Errorf("create -o -: %v, %v", r, err)
	}
}

func TestCreateRefuses(t *testing.T) {
	tree(t, "r/a", "r/old.torrent", "one", "there.torrent", "sub/x")
	if err := os.Symlink("nowhere", "dangling.torrent"); err != nil {
		t.Skip(err)
	}
	before := names(t, ".")
	for _, tt := range []struct {
		name string
		args []string
		code int
		says string
	}{
		{"no path", []string{"create"}, 2, "accepts 1 arg"},
		{"nothing there", []string{"create", "gone"}, 1, "no such file"},
		{"there already", []string{"create", "one", "-o", "there.torrent"}, 1, "there.torrent is there already: --force replaces it"},
		{"a directory", []string{"create", "one", "-o", "sub"}, 1, "sub is a directory"},
		{"no directory", []string{"create", "one", "-o", "gone/x"}, 1, "no such file"},
		{"file as directory", []string{"create", "one", "-o", "one/x"}, 1, "one"},
		{"dangling link", []string{"create", "one", "-o", "dangling.torrent"}, 1, "leads nowhere"},
		{"over the content", []string{"create", "one", "-o", "one", "--force"}, 1, "one is a part of what the torrent is made of"},
		{"inside the content", []string{"create", "r", "-o", "r/old.torrent", "--force"}, 1, "is a part of what the torrent is made of"},
		{"the root", []string{"create", "/"}, 1, "has no name"},
		{"piece size", []string{"create", "one", "--piece-size", "3MiB"}, 2, "power of two"},
		{"tiny piece size", []string{"create", "one", "--piece-size", "8KiB"}, 2, "power of two"},
		{"piece size in bits", []string{"create", "one", "--piece-size", "4Mib"}, 2, "power of two"},
		{"no size", []string{"create", "one", "--piece-size", "big"}, 2, "power of two"},
		{"tracker", []string{"create", "one", "--tracker", "x.example"}, 1, "x.example"},
		{"web seed", []string{"create", "one", "--web-seed", "udp://x:1"}, 1, "udp://x:1"},
		{"date", []string{"create", "one", "--date", "yesterday"}, 2, "--date"},
		{"ancient date", []string{"create", "one", "--date", "1960-01-01"}, 2, "--date"},
		{"two dates", []string{"create", "one", "--date", "2026-01-01", "--no-date"}, 2, "exclude each other"},
		{"stdout twice", []string{"create", "one", "-o", "-", "--json"}, 2, "exclude each other"},
		{"pattern", []string{"create", "r", "--exclude", "[a"}, 1, "malformed"},
		{"all excluded", []string{"create", "r", "--exclude", "*"}, 1, "holds nothing"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if r := (world{}).run(tt.args...); r.code != tt.code || !strings.Contains(r.err, tt.says) || r.out != "" {
				t.Errorf("want exit %d and %q: %v", tt.code, tt.says, r)
			}
			if got := names(t, "."); got != before {
				t.Errorf("left behind: %s, was %s", got, before)
			}
		})
	}
	if r := (world{tty: true}).run("create", "one", "-o", "-"); r.code != 2 || !strings.Contains(r.err, "not for a terminal") {
		t.Errorf("to a terminal: %v", r)
	}
	if r := (world{}).run("create", "one", "-o", "there.torrent", "--force"); r.code != 0 || parsed(t, "there.torrent").Name != "one" {
		t.Errorf("--force: %v", r)
	}
	if got := names(t, "."); got != before {
		t.Errorf("left behind: %s, was %s", got, before)
	}
}

// TestCreateUnusable: what can't be in a torrent is named; it is left out only
// if that was asked for.
func TestCreateUnusable(t *testing.T) {
	tree(t, "r/a", "r/b\x1b[31m")
	r := world{}.run("create", "r")
	if r.code != 1 || !strings.Contains(r.err, `file "r/b\x1b[31m" has the control character U+001B in a name`) || names(t, ".") != "r" {
		t.Errorf("a name with a control character: %v", r)
	}
	if err := os.Remove("r/b\x1b[31m"); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("../..", "r/link"); err != nil {
		t.Skip(err)
	}
	l, err := net.Listen("unix", "r/sock")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	r = world{}.run("create", "r")
	if r.code != 1 || !strings.Contains(r.err, `"r/link" is a symbolic link to "../..", outside "r" (leave it out with --exclude`) || names(t, ".") != "r" {
		t.Errorf("a link: %v", r)
	}
	r = world{}.run("create", "r", "--skip-unusable")
	if r.code != 0 || !strings.Contains(r.err, `left out: "r/link" is a symbolic link to`) || !strings.Contains(r.err, `left out: "r/sock" is a socket`) ||
		len(parsed(t, "r.torrent").Files) != 1 {
		t.Errorf("--skip-unusable: %v", r)
	}
}

// TestCreateInterrupted: whoever is interrupted leaves nothing behind, on a
// terminal as well.
func TestCreateInterrupted(t *testing.T) {
	tree(t, "r/a")
	if err := os.Truncate("r/a", 256<<20); err != nil {
		t.Fatal(err)
	}
	for _, tty := range []bool{false, true} {
		ctx, cancel := context.WithCancel(t.Context())
		a := &app{err: &lockedBuffer{}, out: &lockedBuffer{}, errTTY: tty}
		bar := a.newHashBar("r")
		_, err := create.Path(ctx, "r", create.Options{Progress: func(p create.Progress) { bar.show(p); cancel() }})
		bar.close()
		if code, text := explain(err); code != exitFailed || text != "interrupted" {
			t.Errorf("exit %d, %s", code, text)
		}
		cancel()
		if r := (world{ctx: ctx, tty: tty}).run("create", "r"); r.code != exitFailed || !strings.Contains(r.err, "interrupted") {
			t.Errorf("on a terminal %v: %v", tty, r)
		}
		if got := names(t, "."); got != "r" {
			t.Errorf("left behind: %s", got)
		}
	}
	r := world{tty: true}.run("create", "r")
	if r.code != 0 || !strings.Contains(r.err, "made r.torrent: 1 file, 256 MiB") {
		t.Errorf("on a terminal: %v", r)
	}
}

// TestWriteNewNeverReplaces: a file that comes while another is written stays.
func TestWriteNewNeverReplaces(t *testing.T) {
	tree(t, "x")
	if err := writeNew("x", []byte("new"), false); err == nil || !strings.Contains(err.Error(), "there already") {
		t.Errorf("got %v", err)
	}
	if b, _ := os.ReadFile("x"); string(b) != "x" || names(t, ".") != "x" {
		t.Errorf("x holds %q, left behind: %s", b, names(t, "."))
	}
	if err := writeNew("x", []byte("new"), true); err != nil {
		t.Error(err)
	}
	if b, _ := os.ReadFile("x"); string(b) != "new" || names(t, ".") != "x" {
		t.Errorf("x holds %q, left behind: %s", b, names(t, "."))
	}
}

func TestHashText(t *testing.T) {
	for want, got := range map[string]string{
		"   0.0% of 0 B": hashText(0, 0, time.Minute),
		"  50.0% of 2.0 GiB, 102 MiB/s, ready in 10s": hashText(1<<30, 2<<30, 10*time.Second),
		"   100% of 5 B, 1 B/s, ready in 0s":          hashText(5, 5, 5*time.Second),
	} {
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
