package main

import (
	"os"
	"path/filepath"
	"testing"

	"btd/storage"
)

// TestDemoFits: a demo is smaller where there is little room, unless its size was asked for.
func TestDemoFits(t *testing.T) {
	room := storage.Free(os.TempDir())
	if room < 0 {
		t.Skip("this system does not say how much room there is")
	}
	none := func(string) bool { return false }
	small, slow := byteSize(1), byteRate(2)
	if err := fit(&small, &slow, none); err != nil || small != 1 || slow != 2 {
		t.Errorf("content that fits became %d at %d (%v)", small, slow, err)
	}
	size, rate := byteSize(room), byteRate(room) // others may use or free some of it meanwhile
	switch err := fit(&size, &rate, none); {
	case err == nil && (size < demoLeast || int64(size) > room/2 || int64(rate) > room/2):
		t.Errorf("%d bytes of content at %d a second are no fit for %d free bytes", size, rate, room)
	case err != nil && room > 1<<30:
		t.Errorf("no demo with %d free bytes: %v", room, err)
	}
	size, rate = byteSize(room), 7
	if err := fit(&size, &rate, func(flag string) bool { return flag == "size" }); err != nil || int64(size) != room || rate != 7 {
		t.Errorf("asked for %d at 7, got %d at %d (%v)", room, size, rate, err)
	}
	t.Setenv("TMPDIR", filepath.Join(t.TempDir(), "gone"))
	size, rate = 1<<40, 7
	if err := fit(&size, &rate, none); err != nil || size != 1<<40 || rate != 7 {
		t.Errorf("with an unknown room 1 TiB became %d at %d (%v)", size, rate, err)
	}
}
