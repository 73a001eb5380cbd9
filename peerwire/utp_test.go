package peerwire

import (
	"bytes"
	"encoding/hex"
	"testing"
)

func TestUTPReset(t *testing.T) {
	t.Parallel()
	syn, err := hex.DecodeString("41" + "02" + "b1c2" + "01020304" + "00000000" + "00100000" + "7d3e" + "0000" + "0008" + "0000000000000000")
	if err != nil {
		t.Fatal(err)
	}
	got, ok := AppendUTPReset([]byte("before"), syn)
	want, _ := hex.DecodeString("31" + "00" + "b1c2" + "00000000" + "00000000" + "00000000" + "0000" + "7d3e")
	if !ok || !bytes.Equal(got, append([]byte("before"), want...)) {
		t.Errorf("%x, %t, want %x", got, ok, want)
	}
	for name, other := range map[string][]byte{
		"nothing": nil, "cut off": syn[:19], "data": append([]byte{0x01}, syn[1:]...), "a reset": got[6:],
		"version 2": append([]byte{0x42}, syn[1:]...), "a query of the DHT": []byte("d1:ad2:id20:xxxxxxxxxxxxxxxxxxxxe1:q4:ping1:t1:x1:y1:qe"),
	} {
		if got, ok := AppendUTPReset(nil, other); ok || len(got) != 0 {
			t.Errorf("%s is answered with %x", name, got)
		}
	}
}
