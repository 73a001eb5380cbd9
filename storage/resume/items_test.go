package resume

import (
	"bytes"
	"errors"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"go.etcd.io/bbolt"
)

func someItem(n byte) Item {
	return Item{Key: [32]byte{n, 1}, Salt: []byte{n, 0}, Seq: int64(n), V: []byte("d2:ih20:xe"), Sig: bytes.Repeat([]byte{n}, 64)}
}

func someFollow(n byte) Follow {
	return Follow{
		Item: someItem(n), Link: "magnet:?x", Dir: "/srv", Keep: n%2 == 0, Added: time.Unix(1_700_000_000, 5).UTC(),
		Current: Version{Hash: [20]byte{n}, Seq: 3, Owned: true},
		Next:    Version{Hash: [20]byte{n, n}, Seq: 4, Halted: n%2 == 0, Placed: n%3 == 0},
	}
}

func somePublication(n byte) Publication {
	return Publication{Item: someItem(n), Name: "a name", Stopped: n%2 == 0, Added: time.Unix(1_700_000_000, 5).UTC()}
}

func TestItemsSurviveARestart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "resume.db")
	d, err := Open(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	var follows []Follow
	var pubs []Publication
	for n := byte(1); n < 4; n++ {
		follows, pubs = append(follows, someFollow(n)), append(pubs, somePublication(n))
		if err := errors.Join(d.PutFollow(follows[n-1]), d.PutPublication(pubs[n-1])); err != nil {
			t.Fatal(err)
		}
	}
	fresh := Follow{Item: Item{Key: [32]byte{9}}, Dir: "/x"} // nothing seen yet, no salt
	follows[1].Seq, follows[1].Next = 77, Version{}
	for _, f := range []Follow{fresh, follows[1]} {
		if err := d.PutFollow(f); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(d.Put("other", []byte("x")), d.RemoveFollow(follows[0].Key, follows[0].Salt), d.RemoveFollow([32]byte{77}, nil)); err != nil {
		t.Fatal(err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if d, err = Open(path, nil); err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	got, damaged, err := d.Follows()
	if want := append(follows[1:], fresh); err != nil || len(damaged) > 0 || !reflect.DeepEqual(got, want) {
		t.Errorf("follows %+v, %v, %v\nwant %+v", got, damaged, err, want)
	}
	if got, damaged, err := d.Publications(); err != nil || len(damaged) > 0 || !reflect.DeepEqual(got, pubs) {
		t.Errorf("publications %+v, %v, %v", got, damaged, err)
	}
}

func TestADamagedFollowCostsNoOther(t *testing.T) {
	d, err := Open(filepath.Join(t.TempDir(), "resume.db"), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	a, b := someFollow(1), someFollow(2)
	if err := errors.Join(d.PutFollow(a), d.PutFollow(b)); err != nil {
		t.Fatal(err)
	}
	err = d.bolt.Update(func(tx *bbolt.Tx) error {
		kv := tx.Bucket(bucketKV)
		k := itemKey(followPrefix, &a.Item)
		v := bytes.Clone(kv.Get(k))
		v[len(v)-1] ^= 1
		return kv.Put(k, v)
	})
	if err != nil {
		t.Fatal(err)
	}
	got, damaged, err := d.Follows()
	if err != nil || len(damaged) != 1 || !errors.Is(damaged[0], ErrCorrupt) || len(got) != 1 || got[0].Key != b.Key {
		t.Errorf("%+v, %v, %v", got, damaged, err)
	}
}

func TestItemsThatCouldNotBeReadBack(t *testing.T) {
	d, err := Open(filepath.Join(t.TempDir(), "resume.db"), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	for name, edit := range map[string]func(*Follow){
		"no key": func(f *Follow) { f.Key = [32]byte{} }, "salt": func(f *Follow) { f.Salt = make([]byte, 65) },
		"value": func(f *Follow) { f.V = make([]byte, 1001) }, "signature": func(f *Follow) { f.Sig = f.Sig[1:] },
		"number": func(f *Follow) { f.Seq = -1 }, "link": func(f *Follow) { f.Link = strings.Repeat("x", maxLink+1) },
		"directory": func(f *Follow) { f.Dir = strings.Repeat("x", maxPath+1) },
	} {
		f := someFollow(1)
		if edit(&f); d.PutFollow(f) == nil {
			t.Errorf("%s: stored", name)
		}
	}
	p := somePublication(1)
	if p.Name = strings.Repeat("x", maxPath+1); d.PutPublication(p) == nil {
		t.Error("a long name is stored")
	}
	if all, damaged, err := d.Follows(); err != nil || len(all)+len(damaged) > 0 {
		t.Errorf("%v, %v, %v", all, damaged, err)
	}
}

// FuzzItems: what can be read is written as it was.
func FuzzItems(f *testing.F) {
	x, p := someFollow(3), somePublication(3)
	f.Add(append(x.Key[:], x.Salt...), appendFollow(nil, &x))
	f.Add(append(p.Key[:], p.Salt...), appendPublication(nil, &p))
	f.Fuzz(func(t *testing.T, key, in []byte) {
		if x, err := decodeFollow(key, in); err == nil {
			if got := appendFollow(nil, &x); !bytes.Equal(got, in) && !x.Added.IsZero() {
				t.Errorf("%x is written as %x", in, got)
			}
			if got := itemKey(nil, &x.Item); !bytes.Equal(got, key) {
				t.Errorf("the key %x is written as %x", key, got)
			}
		}
		if x, err := decodePublication(key, in); err == nil {
			if got := appendPublication(nil, &x); !bytes.Equal(got, in) && !x.Added.IsZero() {
				t.Errorf("%x is written as %x", in, got)
			}
		}
	})
}
