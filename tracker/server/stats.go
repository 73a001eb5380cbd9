package server

import (
	"time"
	"unsafe"
)

// transport is how a request came.
type transport uint8

const (
	overHTTP transport = iota
	overUDP
	transports
)

var transportNames = [transports]string{"http", "udp"}

// reason is why a request was not served.
type reason uint8

const (
	becauseUnregistered reason = iota
	becauseMalformed
	becauseRate
	becausePerSource
	becauseFull
	becauseConnection // id, of BEP 15
	becauseConnections
	reasons
)

var reasonNames = [reasons]string{
	"not registered", "malformed", "too many requests of one address", "too many peers of one address", "tracker is full",
	"connection id", "too many connections",
}

func (s *Server) refuse(r reason) { s.refused[r].Add(1) }

// answered counts, within one shard.
type answered struct{ announces, scrapes int64 }

// second counts announces within one second of the server's clock.
type second struct {
	at uint32
	n  [transports]uint32
}

// count notes an announce. The caller holds the shard's lock.
func (sh *shard) count(via transport, now uint32) {
	sh.counts[via].announces++
	sec := &sh.seconds[now%uint32(len(sh.seconds))]
	if sec.at != now {
		*sec = second{at: now}
	}
	sec.n[via]++
}

// Stats is a picture of a tracker.
type Stats struct {
	Torrents    int // that have peers
	Peers       int // seeds included
	Seeds       int
	Announces   map[string]int64   // answered, by transport: http, udp
	PerSecond   map[string]float64 // announces over the last ten seconds, by transport
	Scrapes     map[string]int64   // answered, by transport
	Refused     map[string]int64   // requests, by reason
	Connections int                // over HTTP, now
	Memory      int64              // bytes that torrents and peers take up
}

const lately = 10 // seconds

// Stats is a picture of the tracker. It looks at one shard after the other,
// and holds nothing up.
func (s *Server) Stats() Stats {
	now, _ := s.clock(time.Now())
	out := Stats{
		Announces: map[string]int64{}, PerSecond: map[string]float64{}, Scrapes: map[string]int64{}, Refused: map[string]int64{},
		Connections: int(s.conns.Load()),
		Memory:      int64(unsafe.Sizeof(*s) + unsafe.Sizeof(census{}) + meterSets*unsafe.Sizeof(bucketSet{})),
	}
	for i := range s.shards {
		s.shards[i].picture(&out, s, now)
	}
	for r, name := range reasonNames {
		out.Refused[name] = s.refused[r].Load()
	}
	return out
}

func (sh *shard) picture(out *Stats, s *Server, now uint32) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	for hash, sw := range sh.swarms {
		s.sweep(sh, hash, sw, now)
		seeds, leechers, _ := sw.counts()
		if seeds+leechers == 0 {
			continue
		}
		out.Torrents++
		out.Seeds += seeds
		out.Peers += seeds + leechers
		out.Memory += int64(unsafe.Sizeof(*sw)) + mapCost + sw.four.memory()
		if sw.six != nil {
			out.Memory += int64(unsafe.Sizeof(*sw.six)) + sw.six.memory()
		}
	}
	for via, name := range transportNames {
		out.Announces[name] += sh.counts[via].announces
		out.Scrapes[name] += sh.counts[via].scrapes
		for _, sec := range sh.seconds {
			if sec.at < now && now-sec.at <= lately {
				out.PerSecond[name] += float64(sec.n[via]) / lately
			}
		}
	}
}

const mapCost = 48 // bytes, about, of an entry of a map from hash to swarm
