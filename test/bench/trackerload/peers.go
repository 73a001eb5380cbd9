//go:build linux

package main

import (
	"crypto/sha1"
	"encoding/binary"
	"math/rand/v2"
)

// rate is what came of one load.
type rate struct {
	n     int64
	rate  float64 // answers a second
	lost  int64   // announces without an answer
	peers float64 // addresses in an answer, on average
}

// hashOf is the info-hash of a torrent.
func hashOf(torrent int) [20]byte {
	return sha1.Sum(binary.BigEndian.AppendUint64(nil, uint64(torrent)))
}

// hashes are those of all torrents.
func (l *load) hashes() [][20]byte {
	all := make([][20]byte, l.torrents)
	for i := range all {
		all[i] = hashOf(i)
	}
	return all
}

// peer is one of the load's: which torrent, which source, which port.
type peer struct {
	torrent, source int
	port            uint16
	left            uint64 // every tenth is a seed
}

func (l *load) peer(n int) peer {
	p := peer{torrent: n % l.torrents, source: int(uint32(n) * 2654435761 >> 8 % uint32(l.sources)), port: uint16(1024 + n%60_000), left: 1 << 20}
	if n/l.torrents%10 == 0 {
		p.left = 0
	}
	return p
}

// sourceAddr is an address of this machine's loopback network.
func sourceAddr(source int) [4]byte { return [4]byte{127, 1, byte(source >> 8), byte(source)} }

func newRand() *rand.Rand { return rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64())) }
