package store

import (
	"math/rand/v2"
	"time"
)

// Limits of BEP 51.
const (
	maxSamples     = 20
	sampleInterval = 21600 * time.Second
)

// samples is the subset that is shown until the interval is over.
type samples struct {
	hashes []byte
	until  time.Time
}

// Samples are up to 20 info-hashes of stored torrents, 20 bytes each, how many
// are stored, and in how many seconds others will be given (BEP 51). The slice
// is valid until the next call.
func (p *Peers) Samples(now time.Time, rng *rand.Rand) (hashes []byte, num, interval int) {
	const size = 20
	s := &p.samples
	short := len(s.hashes) < maxSamples*size && len(s.hashes) < len(p.torrents)*size
	if short || !now.Before(s.until) {
		s.hashes, s.until = s.hashes[:0], now.Add(sampleInterval)
		seen := 0
		for hash := range p.torrents {
			raw := hash.AsByteArray()
			if seen++; len(s.hashes) < maxSamples*size {
				s.hashes = append(s.hashes, raw[:]...)
			} else if at := rng.IntN(seen); at < maxSamples {
				copy(s.hashes[at*size:], raw[:])
			}
		}
	}
	return s.hashes, len(p.torrents), int(s.until.Sub(now) / time.Second)
}
