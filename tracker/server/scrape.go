package server

import (
	"encoding/binary"
	"slices"
	"time"
)

// tally is what a scrape says of one torrent.
type tally struct{ seeds, leechers, downloads int }

// scrape counts the peers of a torrent; ok is false for one that nobody is to
// know of, or that has no peers.
func (s *Server) scrape(hash [20]byte, token bool, via transport, now uint32) (t tally, ok bool) {
	sh := s.shard(hash)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	sh.counts[via].scrapes++
	if s.cfg.Listed && !token {
		if _, ok := sh.registered[hash]; !ok {
			return t, false
		}
	}
	sw := s.current(sh, hash, now)
	t.seeds, t.leechers, t.downloads = sw.counts()
	return t, sw != nil
}

// mayScrape takes a scrape of n torrents out of the source's bucket.
func (s *Server) mayScrape(from source, at time.Time) bool {
	_, millis := s.clock(at)
	from.alone = s.standsAlone(from.addr, at)
	if !s.meter.allow(from.key(), millis) {
		s.refuse(becauseRate)
		return false
	}
	return true
}

// appendScrape answers a scrape over HTTP (BEP 48).
func (s *Server) appendScrape(b []byte, query string, from source, token bool, at time.Time) []byte {
	if !s.mayScrape(from, at) {
		return appendFailure(b, errRate)
	}
	hashes, err := parseScrape(query)
	if err != nil {
		s.refuse(becauseMalformed)
		return appendFailure(b, err)
	}
	now, _ := s.clock(at)
	slices.SortFunc(hashes, func(x, y [20]byte) int { return slices.Compare(x[:], y[:]) })
	b = append(b, "d5:filesd"...)
	for _, h := range slices.Compact(hashes) {
		t, ok := s.scrape(h, token, overHTTP, now)
		if !ok {
			continue
		}
		b = append(append(b, "20:"...), h[:]...)
		b = append(b, 'd')
		b = appendInt(b, "complete", t.seeds)
		b = appendInt(b, "downloaded", t.downloads)
		b = appendInt(b, "incomplete", t.leechers)
		b = append(b, 'e')
	}
	return append(b, "ee"...)
}

// appendScrapeUDP answers a scrape over UDP (BEP 15).
func (s *Server) appendScrapeUDP(b, hashes []byte, now uint32) []byte {
	for n := 0; len(hashes) >= 20 && n < maxScrape; n++ {
		t, _ := s.scrape([20]byte(hashes[:20]), false, overUDP, now)
		b = binary.BigEndian.AppendUint32(b, uint32(t.seeds))
		b = binary.BigEndian.AppendUint32(b, uint32(t.downloads))
		b = binary.BigEndian.AppendUint32(b, uint32(t.leechers))
		hashes = hashes[20:]
	}
	return b
}
