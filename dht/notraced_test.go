//go:build !race

package dht

// raced tells whether the race detector is at work, under which everything
// takes ten times as long.
const raced = false
