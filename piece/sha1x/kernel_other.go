//go:build !amd64

package sha1x

import "unsafe"

func lanes() int { return 1 }

func block(int, *[5][MaxLanes]uint32, *[MaxLanes]unsafe.Pointer, int) {
	panic("sha1x: no lanes on this processor")
}
