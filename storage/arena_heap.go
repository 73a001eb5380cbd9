//go:build !linux || race

package storage

// Without an arena every buffer comes from the Go heap. The race detector
// watches only that, so race tests run this way too.

const hasArena = false

func reserve(int) []byte { return nil }

func release([]byte) {}

func unreserve([]byte) {}
