package sha1x

import (
	"unsafe"

	"golang.org/x/sys/cpu"
)

// lanes is the number of messages that one call of block hashes side by side.
func lanes() int {
	switch {
	case cpu.X86.HasAVX512F && cpu.X86.HasAVX512BW:
		return 16
	case cpu.X86.HasAVX2:
		return 8
	}
	return 1
}

// block hashes the next chunks of 64 bytes of lanes messages: those at data[i]
// go to lane i.
func block(lanes int, state *[5][MaxLanes]uint32, data *[MaxLanes]unsafe.Pointer, chunks int) {
	if lanes == 16 {
		block16(state, data, chunks)
	} else {
		block8(state, data, chunks)
	}
}

//go:noescape
func block16(state *[5][16]uint32, data *[16]unsafe.Pointer, chunks int)

//go:noescape
func block8(state *[5][16]uint32, data *[16]unsafe.Pointer, chunks int)
