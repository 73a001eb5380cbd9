package metainfo

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
)

func TestExtras(t *testing.T) {
	long := strings.Repeat("x", 300)
	in := "d8:announce1:x4:aziei5e4:hashli1e1:ae4:infod6:lengthi1e4:name1:a12:piece lengthi16384e6:pieces20:" + strings.Repeat("0", 20) +
		"11:x_crossseed" + "4:\x1b[2Je" + "6:layersd1:ai1ee1:u6:\u202eabc1:v300:" + long + "e"
	got, err := Extras([]byte(in))
	want := []Extra{
		{`"azie"`, "5"},
		{`"hash"`, "a list of 2"},
		{`"layers"`, "a dictionary of 1 keys"},
		{`"u"`, `"\u202eabc"`},
		{`"v"`, fmt.Sprintf("%q... (300 bytes)", long[:100])},
		{`info."x_crossseed"`, `"\x1b[2J"`},
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got  %q\nwant %q\n%v", got, want, err)
	}
	if _, err := Extras([]byte("d1:ae")); err == nil {
		t.Error("half a torrent was read")
	}
	var many strings.Builder
	many.WriteString("d")
	for i := range 3000 {
		fmt.Fprintf(&many, "4:%04di1e", i)
	}
	many.WriteString("e")
	if got, err := Extras([]byte(many.String())); err != nil || len(got) != maxExtras {
		t.Errorf("%d extras of 3,000, %v", len(got), err)
	}
}
