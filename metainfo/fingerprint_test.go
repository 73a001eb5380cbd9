package metainfo

import (
	"errors"
	"testing"
)

func TestFingerprint(t *testing.T) {
	m := &Info{Hash: V1([20]byte{1}), Files: []File{{Path: "t/a", Length: 3}, {Path: "t/.pad/5", Length: 5, Pad: true}, {Path: "t/b", Length: 0}}}
	of := func(m *Info, sizes, times [3]int64) Fingerprint {
		t.Helper()
		f, err := m.Fingerprint(func(i int) (int64, int64, error) { return sizes[i], times[i], nil })
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	first := of(m, [3]int64{3, 5, 0}, [3]int64{10, 20, 30})
	if got := of(m, [3]int64{3, 0, 0}, [3]int64{10, 0, 30}); got != first {
		t.Error("padding, which is on no disk, counts")
	}
	// Computed with sha256sum of what the comment says.
	if got, want := first.String(), "1c4d8eccf32cbcad57bba10d11a287530ccf216c279bafed08908f3ca041c787"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	other := *m
	other.Hash = V1([20]byte{2})
	for name, got := range map[string]Fingerprint{
		"size":    of(m, [3]int64{4, 5, 0}, [3]int64{10, 20, 30}),
		"time":    of(m, [3]int64{3, 5, 0}, [3]int64{10, 20, 31}),
		"torrent": of(&other, [3]int64{3, 5, 0}, [3]int64{10, 20, 30}),
	} {
		if got == first {
			t.Errorf("another %s makes no difference", name)
		}
	}
	if got, err := ParseFingerprint(first.String()); err != nil || got != first {
		t.Errorf("read back as %v, %v", got, err)
	}
	for _, s := range []string{"", "00", first.String() + "00", "x" + first.String()[1:]} {
		if _, err := ParseFingerprint(s); err == nil {
			t.Errorf("%q was accepted", s)
		}
	}
	gone := errors.New("gone")
	if _, err := m.Fingerprint(func(int) (int64, int64, error) { return 0, 0, gone }); !errors.Is(err, gone) {
		t.Errorf("the error is %v", err)
	}
}
