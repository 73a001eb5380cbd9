package session

import (
	"context"

	"btd/dht"
)

// maxSamples bounds the info-hashes of one call.
const maxSamples = 4096

// DHTSamples is what nodes tell of the torrents that they keep peers of (BEP
// 51).
type DHTSamples struct {
	Hashes  [][20]byte // each once, at most 4,096
	Nodes   int        // that told some
	Kept    int64      // torrents that these nodes say they know, the same ones counted more than once
	Queries int
}

// DHTSample asks the nodes on the way to target, and those next to it, which
// torrents they know. Nodes say how often they want to be asked: until then they
// are left alone.
func (s *Session) DHTSample(ctx context.Context, target [20]byte) (DHTSamples, error) {
	n, err := s.dhtNode()
	if err != nil {
		return DHTSamples{}, err
	}
	var out DHTSamples
	seen := map[[20]byte]bool{}
	q := dht.Search{Kind: dht.Sample, Samples: func(x dht.Samples) {
		out.Nodes++
		out.Kept += min(x.Num, 1<<32)
		for b := x.Hashes; len(b) >= 20 && len(seen) < maxSamples; b = b[20:] {
			if h := [20]byte(b); !seen[h] {
				seen[h] = true
				out.Hashes = append(out.Hashes, h)
			}
		}
	}}
	q.Target.SetBytes(target[:])
	r, err := n.Search(ctx, q)
	for _, one := range []*dht.Result{r.IPv4, r.IPv6} {
		if one != nil {
			out.Queries += one.Stats.Queries
		}
	}
	return out, dhtError(err)
}
