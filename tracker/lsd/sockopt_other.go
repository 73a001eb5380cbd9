//go:build !linux

package lsd

const oobSize = 0

// strict does nothing: what a packet says is checked by its source alone.
func strict(uintptr, bool) error { return nil }

func toGroup([]byte) bool { return true }
