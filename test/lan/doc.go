// Package lan tests a private swarm on a local network: one host shares, eight
// join, over links of 200 Mbit/s.
//
// The tests have the build tag "lan" and need Linux and root, because every
// host is a network namespace with real addresses (test/netns) and its link is
// shaped with tc(8):
//
//	go test -tags lan -timeout 25m ./test/lan
package lan
