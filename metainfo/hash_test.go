package metainfo

import (
	"strings"
	"testing"
)

func TestHashStringReadsBack(t *testing.T) {
	v1, v2 := [20]byte{0xab, 1}, [32]byte{0xcd, 2}
	for name, tt := range map[string]struct {
		h    Hash
		wire [20]byte
		text string
	}{
		"v1":     {V1(v1), v1, "ab01" + strings.Repeat("0", 36)},
		"v2":     {Hash{}.WithV2(v2), [20]byte(v2[:20]), "cd02" + strings.Repeat("0", 60)},
		"hybrid": {V1(v1).WithV2(v2), v1, "ab01" + strings.Repeat("0", 36)},
	} {
		if tt.h.Wire() != tt.wire || tt.h.String() != tt.text || tt.h.IsZero() {
			t.Errorf("%s: wire %x, text %s", name, tt.h.Wire(), tt.h)
		}
		back, err := ParseHash(strings.ToUpper(tt.text))
		if err != nil || back.Wire() != tt.wire {
			t.Errorf("%s: read back %v, %v", name, back, err)
		}
		if _, isV2 := back.V2(); isV2 != (name == "v2") {
			t.Errorf("%s: read back as v2: %v", name, isV2)
		}
	}
	if !(Hash{}).IsZero() || V1([20]byte{}).IsZero() {
		t.Error("a hash of zero bytes is not the zero hash")
	}
	for _, s := range []string{"", "ab", strings.Repeat("0", 41), strings.Repeat("0", 42), strings.Repeat("g", 40)} {
		if h, err := ParseHash(s); err == nil {
			t.Errorf("%q is read as %s", s, h)
		}
	}
}
