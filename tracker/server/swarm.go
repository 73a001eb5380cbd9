package server

import (
	"hash/maphash"
	"sync"
)

// shards is how many parts the torrents are divided into. Each has its own
// lock, which is held for one announce at a time.
const shards = 256

// shard is the torrents whose hashes fall on it.
type shard struct {
	mu         sync.Mutex
	swarms     map[[20]byte]*swarm
	registered map[[20]byte]struct{}
	swept      uint32 // when all swarms were swept
	counts     [transports]answered
	seconds    [16]second // announces of late, by second modulo 16
	_          [64]byte   // the next lock is in another cache line
}

func (sh *shard) init() {
	sh.swarms = map[[20]byte]*swarm{}
	sh.registered = map[[20]byte]struct{}{}
}

func (s *Server) shard(hash [20]byte) *shard {
	return &s.shards[maphash.Bytes(s.seed, hash[:])%shards]
}

// swarm is the peers of one torrent.
type swarm struct {
	four      peers[[4]byte]
	six       *peers[[16]byte] // nil until there is one
	self      *selfPeer        // the daemon that this tracker is part of; nil if it does not take part
	downloads uint32
}

// selfPeer is what is kept of our own daemon instead of an address.
type selfPeer struct {
	id    [20]byte
	heard uint32 // as in record
	seed  bool
}

// counts of a swarm; nil is a torrent nobody knows.
func (sw *swarm) counts() (seeds, leechers, downloads int) {
	if sw == nil {
		return 0, 0, 0
	}
	seeds, leechers = int(sw.four.seeds), len(sw.four.list)
	if sw.six != nil {
		seeds += int(sw.six.seeds)
		leechers += len(sw.six.list)
	}
	if sw.self != nil {
		leechers++
		if sw.self.seed {
			seeds++
		}
	}
	return seeds, leechers - seeds, int(sw.downloads)
}

func (sw *swarm) empty() bool {
	return len(sw.four.list) == 0 && (sw.six == nil || len(sw.six.list) == 0) && sw.self == nil
}

// current is a swarm without its silent peers; nil if there is none. The
// caller holds the shard's lock. From time to time all swarms of the shard
// are swept, so that memory is given back without a timer.
func (s *Server) current(sh *shard, hash [20]byte, now uint32) *swarm {
	if now-sh.swept >= s.expire/8+1 {
		sh.swept = now
		for h, sw := range sh.swarms {
			s.sweep(sh, h, sw, now)
		}
	}
	sw := sh.swarms[hash]
	if sw == nil {
		return nil
	}
	due := func(oldest, swept uint32) bool { return now-oldest >= s.expire && now-swept >= s.expire/64 }
	if due(sw.four.oldest, sw.four.swept) || sw.six != nil && due(sw.six.oldest, sw.six.swept) ||
		sw.self != nil && now-sw.self.heard&^flagBits >= s.expire {
		s.sweep(sh, hash, sw, now)
	}
	return sh.swarms[hash]
}

// sweep drops the silent peers of a swarm, and the swarm when it is empty.
func (s *Server) sweep(sh *shard, hash [20]byte, sw *swarm, now uint32) {
	since := uint32(0)
	if now > s.expire {
		since = now - s.expire + 1
	}
	s.drop(sh, hash, sw, now, since)
}

// clear drops all peers of a swarm.
func (s *Server) clear(sh *shard, hash [20]byte, sw *swarm) { s.drop(sh, hash, sw, 0, ^uint32(0)) }

func (s *Server) drop(sh *shard, hash [20]byte, sw *swarm, now, since uint32) {
	gone := int64(0)
	sw.four.sweep(s.seed, now, since, func(r *record[[4]byte]) class {
		gone++
		s.census.drop(keyOf(r))
		return class4(&r.addr)
	})
	if sw.six != nil {
		sw.six.sweep(s.seed, now, since, func(r *record[[16]byte]) class {
			gone++
			s.census.drop(keyOf(r))
			return class6(&r.addr)
		})
	}
	if sw.self != nil && sw.self.heard&^flagBits < since {
		sw.self = nil
		gone++
	}
	s.peers.Add(-gone)
	s.forgetEmpty(sh, hash, sw)
}

func (s *Server) forgetEmpty(sh *shard, hash [20]byte, sw *swarm) {
	if sw.empty() {
		delete(sh.swarms, hash)
		s.torrents.Add(-1)
	}
}
