package resume

import (
	"errors"
	"path/filepath"
	"testing"

	"btd/metainfo"
	"btd/piece"

	"go.etcd.io/bbolt"
)

// serial is the number of the last transaction that wrote.
func serial(t *testing.T, d *DB) (id int) {
	t.Helper()
	if err := d.bolt.View(func(tx *bbolt.Tx) error { id = tx.ID(); return nil }); err != nil {
		t.Fatal(err)
	}
	return id
}

// TestAddStoredIsOneTransaction: the torrent, its claims and its files.
func TestAddStoredIsOneTransaction(t *testing.T) {
	path := filepath.Join(t.TempDir(), "resume.db")
	d, err := Open(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	h := metainfo.V1([20]byte{7})
	all := piece.NewBitfield(9)
	all.Fill()
	rec := Record{Hash: h, Name: "x", Dir: "/d", Pieces: 9, Complete: true, Queue: 1}
	c := Commit{Hash: h, Pieces: all, Clean: []Clean{{File: 0, Size: 5, ModTime: 6}}}
	before := serial(t, d)
	if err := d.AddStored(rec, []byte("raw"), c); err != nil {
		t.Fatal(err)
	}
	if n := serial(t, d) - before; n != 1 {
		t.Errorf("%d transactions, want 1", n)
	}
	if err := d.AddStored(rec, []byte("raw"), c); !errors.Is(err, ErrExists) {
		t.Errorf("again: %v", err)
	}
	if err := d.AddStored(rec, []byte("raw"), Commit{Hash: metainfo.V1([20]byte{8})}); err == nil {
		t.Error("a commit of another torrent is taken")
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if d, err = Open(path, nil); err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	have, err := d.Pieces(h, 9)
	if err != nil || !have.All() {
		t.Errorf("claims %v, %v", have, err)
	}
	files, err := d.Files(h, 1)
	if err != nil || files[0] != (FileStat{Size: 5, ModTime: 6, Known: true}) {
		t.Errorf("files %v, %v", files, err)
	}
}
