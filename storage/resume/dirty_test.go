package resume

import (
	"log/slog"
	"path/filepath"
	"testing"

	"btd/metainfo"
)

func TestDirtyTorrents(t *testing.T) {
	d, err := Open(filepath.Join(t.TempDir(), "db"), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	clean, dirty := metainfo.V1([20]byte{1}), metainfo.V1([20]byte{2})
	for _, h := range []metainfo.Hash{clean, dirty} {
		if err := d.Add(Record{Hash: h, Name: "x", Dir: "/x", Pieces: 1}, []byte("d")); err != nil {
			t.Fatal(err)
		}
		if err := d.MarkDirty(h, []int{0, 5}); err != nil {
			t.Fatal(err)
		}
	}
	if err := d.Commit([]Commit{{Hash: clean, Clean: []Clean{{File: 0, Size: 1}, {File: 5, Size: 1}}}}); err != nil {
		t.Fatal(err)
	}
	got, err := d.Dirty()
	if err != nil || len(got) != 1 || !got[dirty] {
		t.Errorf("dirty torrents: %v, %v; want only the second", got, err)
	}
}
