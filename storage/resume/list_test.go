package resume

import (
	"path/filepath"
	"testing"

	"go.etcd.io/bbolt"
)

func TestListFindsWhatBeginsWithAPrefix(t *testing.T) {
	d, err := Open(filepath.Join(t.TempDir(), "db"), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	for k, v := range map[string]string{"a": "0", "a/1": "one", "a/2": "", "a0": "no", "b/1": "no", "a/9": "bad"} {
		if err := d.Put(k, []byte(v)); err != nil {
			t.Fatal(err)
		}
	}
	// The value of another key is not believed.
	err = d.bolt.Update(func(tx *bbolt.Tx) error {
		b := tx.Bucket(bucketKV)
		return b.Put([]byte("a/9"), append([]byte(nil), b.Get([]byte("a/1"))...))
	})
	if err != nil {
		t.Fatal(err)
	}
	got, err := d.List("a/")
	if err != nil || len(got) != 2 || string(got["1"]) != "one" || string(got["2"]) != "" {
		t.Errorf("%q, %v", got, err)
	}
	if got, err := d.List("c"); err != nil || len(got) != 0 {
		t.Errorf("nothing there: %q, %v", got, err)
	}
}
