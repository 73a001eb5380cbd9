package piece

import (
	"math/rand/v2"
	"testing"
)

const (
	benchPieces = 100_000
	benchPeers  = 500
)

// crowd is a picker of 100,000 pieces that watches 500 peers: every tenth a
// seed, every tenth with some twenty pieces, the others with anything between.
func crowd(b testing.TB, pieceLength int64) (*Picker, []*Peer, *rand.Rand) {
	b.Helper()
	return crowdOf(b, benchPieces, benchPeers, pieceLength)
}

func crowdOf(b testing.TB, pieces, peerCount int, pieceLength int64) (*Picker, []*Peer, *rand.Rand) {
	b.Helper()
	g, err := NewGeometry(int64(pieces)*pieceLength, pieceLength)
	if err != nil {
		b.Fatal(err)
	}
	r := rand.New(rand.NewPCG(1, 2))
	p := NewPicker(g, r)
	p.Passed(7)
	var peers []*Peer
	for k := range peerCount {
		pr := p.Join()
		peers = append(peers, pr)
		f := NewBitfield(pieces)
		switch {
		case k%10 == 0:
			f.Fill()
		case k%10 == 1:
			for range 20 {
				f.Set(Index(r.IntN(pieces)))
			}
		default:
			share := r.Float64()
			for i := range Index(pieces) {
				if r.Float64() < share {
					f.Set(i)
				}
			}
		}
		p.PeerBitfield(pr, f)
	}
	p.Pick(peers[0], 1, nil)
	return p, peers, r
}

func BenchmarkHave(b *testing.B) {
	p, peers, r := crowd(b, 64*BlockSize)
	at := make([]Index, 1<<16)
	who := make([]*Peer, len(at))
	for k := range at {
		at[k] = Index(r.IntN(benchPieces))
		for who[k] == nil || who[k].IsSeed() {
			who[k] = peers[r.IntN(len(peers))]
		}
	}
	b.ReportAllocs()
	b.ResetTimer()
	for k := range b.N {
		// Those that a peer has already it loses, so that it never ends.
		if j := k % len(at); !p.PeerHas(who[j], at[j]) {
			p.PeerLacks(who[j], at[j])
		}
	}
}

// benchPick measures picking and receiving a block, for peers that keep depth
// blocks requested.
func benchPick(b *testing.B, pieceLength int64, depth int, choose func(k int) bool) {
	p, all, r := crowd(b, pieceLength)
	var peers []*Peer
	for k, pr := range all {
		if choose(k) {
			peers = append(peers, pr)
		}
	}
	queue := make([][]Block, len(peers))
	for k, pr := range peers {
		queue[k] = p.Pick(pr, depth, make([]Block, 0, 2*depth))
	}
	left := make([]int, benchPieces)
	for i := range left {
		left[i] = p.geo.Blocks(Index(i))
	}
	b.ReportAllocs()
	b.ResetTimer()
	for n := 0; n < b.N; {
		k := r.IntN(len(peers))
		pr, q := peers[k], queue[k]
		got := min(len(q), 1+depth/2)
		for _, blk := range q[:got] {
			p.Received(pr, blk)
			i := blk.Piece
			if left[i]--; left[i] == 0 { // forgotten again, so that it never ends
				p.Lost(i)
				left[i] = p.geo.Blocks(i)
			}
		}
		q = q[:copy(q, q[got:])]
		q = p.Pick(pr, depth-len(q), q)
		queue[k] = q
		n += max(got, 1)
	}
}

func every(int) bool    { return true }
func sparse(k int) bool { return k%10 == 1 }
func seeds(k int) bool  { return k%10 == 0 }

func BenchmarkPick(b *testing.B) {
	b.Run("mixed", func(b *testing.B) { benchPick(b, 64*BlockSize, 50, every) })
	b.Run("mixed-one-by-one", func(b *testing.B) { benchPick(b, 64*BlockSize, 1, every) })
	b.Run("mixed-pieces-of-one-block", func(b *testing.B) { benchPick(b, BlockSize, 1, every) })
	b.Run("sparse", func(b *testing.B) { benchPick(b, 64*BlockSize, 4, sparse) })
	b.Run("sparse-pieces-of-one-block", func(b *testing.B) { benchPick(b, BlockSize, 1, sparse) })
	b.Run("seeds", func(b *testing.B) { benchPick(b, 64*BlockSize, 500, seeds) })
}

// The last 2,048 blocks are requested from one peer, another was asked for all
// but a piece that it lacks, and for it there is no more.
func BenchmarkEndgame(b *testing.B) {
	g, err := NewGeometry(32*64*BlockSize, 64*BlockSize)
	if err != nil {
		b.Fatal(err)
	}
	p := NewPicker(g, rand.New(rand.NewPCG(1, 1)))
	var peers [3]*Peer
	for k := range peers {
		peers[k] = p.Join()
		f := NewBitfield(g.Pieces())
		f.Fill()
		if k == 1 {
			f.Clear(5)
		}
		p.PeerBitfield(peers[k], f)
	}
	p.Pick(peers[0], 2048, nil)
	pace := allLateBut(peers[1])
	p.Duplicate(peers[1], 2048, pace, nil)
	if peers[1].Outstanding() != 2048-64 {
		b.Fatalf("%d blocks are duplicated", peers[1].Outstanding())
	}
	var dst []Block
	b.ReportAllocs()
	for b.Loop() {
		dst = p.Duplicate(peers[1], 1, pace, p.Pick(peers[1], 1, dst[:0]))
	}
}
