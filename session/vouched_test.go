package session

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"btd/metainfo"
)

// fingerprint is that of the files below dir.
func (c content) fingerprint(t *testing.T, dir string) metainfo.Fingerprint {
	t.Helper()
	f, err := c.meta.Fingerprint(func(i int) (size, modTime int64, err error) {
		fi, err := os.Stat(filepath.Join(dir, filepath.FromSlash(c.meta.Files[i].Path)))
		if err != nil {
			return 0, 0, err
		}
		return fi.Size(), fi.ModTime().UnixNano(), nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// TestWhatWasHashedIsNotHashedAgain adds content of which a byte is wrong: a
// session that says it is complete has not looked at it.
func TestWhatWasHashedIsNotHashedAgain(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name    string
		after   func(path string) error // done to the file once the fingerprint was taken
		unasked bool                    // without a fingerprint
		trusted bool
	}{
		{"as it was", nil, false, true},
		{"without a fingerprint", nil, true, false},
		{"with another time", func(path string) error { return os.Chtimes(path, time.Time{}, time.Unix(1e9, 0)) }, false, false},
		{"longer", func(path string) error {
			f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
			if err != nil {
				return err
			}
			_, err = f.Write([]byte("x"))
			return err
		}, false, false},
		{"gone", os.Remove, false, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := makeContent(t, 64<<10, map[string]int{"a": 900_000, "b/c": 70_000})
			path := filepath.Join(c.dir, "content", "a")
			f, err := os.OpenFile(path, os.O_WRONLY, 0)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := f.WriteAt([]byte("something else"), 1000); err != nil {
				t.Fatal(err)
			}
			f.Close()
			o := AddOptions{Dir: c.dir, Seen: c.fingerprint(t, c.dir)}
			if tt.unasked {
				o.Seen = metainfo.Fingerprint{}
			}
			if tt.after != nil {
				if err := tt.after(path); err != nil {
					t.Fatal(err)
				}
			}
			s := open(t, nil)
			v := add(t, s, c, o)
			if !tt.trusted {
				if v.State == StateSeeding {
					t.Error("it was taken for complete")
				}
				await(t, s, c, "the check", func(v Torrent) bool { return v.State == StateDownloading && v.PiecesHave < v.Pieces })
				return
			}
			if !complete(v) || v.PiecesHave != v.Pieces {
				t.Errorf("added as %s with %d pieces of %d", v.State, v.PiecesHave, v.Pieces)
			}
			// What was believed is recorded as after a check, so that a change is found when the files are opened.
			again := reopen(t, s)
			await(t, again, c, "seeding", complete)
			known, err := again.db.Files(c.meta.Hash, len(c.meta.Files))
			if err != nil {
				t.Fatal(err)
			}
			for i, k := range known {
				fi, err := os.Stat(filepath.Join(c.dir, filepath.FromSlash(c.meta.Files[i].Path)))
				if err != nil {
					t.Fatal(err)
				}
				if !k.Known || k.Dirty || k.Size != fi.Size() || k.ModTime != fi.ModTime().UnixNano() {
					t.Errorf("file %d is recorded as %+v", i, k)
				}
			}
		})
	}
}
