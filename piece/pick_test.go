package piece

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// drawn is a picker for a swarm given as strings, one character a piece.
type drawn struct {
	t     *testing.T
	p     *Picker
	peers []*Peer // one for each copy, and maybe more
}

// swarm draws a swarm of pieces of four blocks. availability says how many
// peers have a piece ("1234"); have marks ours ("* *"); priority is "4444" if
// empty. The first peer has every piece of an availability above 0.
func swarm(t *testing.T, availability, have, priority string) *drawn {
	return swarmOf(t, 4, availability, have, priority)
}

func swarmOf(t *testing.T, blocks int64, availability, have, priority string) *drawn {
	t.Helper()
	n := len(availability)
	g, err := NewGeometry(int64(n)*blocks*BlockSize, blocks*BlockSize)
	if err != nil {
		t.Fatal(err)
	}
	d := &drawn{t: t, p: NewPicker(g, rand.New(rand.NewPCG(1, 1)))}
	for k := range 9 {
		var b strings.Builder
		for _, c := range availability {
			if int(c-'0') > k {
				b.WriteByte('*')
			} else {
				b.WriteByte(' ')
			}
		}
		if s := b.String(); strings.Contains(s, "*") {
			d.peer(s)
		}
	}
	for i := range have {
		if have[i] == '*' {
			d.p.Passed(Index(i))
		}
	}
	for i := range priority {
		d.p.SetPriority(Index(i), priority[i]-'0')
	}
	return d
}

// peer adds one that has the marked pieces.
func (d *drawn) peer(has string) *Peer {
	pr := d.p.Join()
	f := NewBitfield(d.p.pieces)
	for i := range has {
		if has[i] == '*' {
			f.Set(Index(i))
		}
	}
	d.p.PeerBitfield(pr, f)
	d.peers = append(d.peers, pr)
	return pr
}

// pieces are the different pieces of l in order.
func pieces(l []Block) []Index {
	var out []Index
	for _, b := range l {
		if len(out) == 0 || out[len(out)-1] != b.Piece {
			out = append(out, b.Piece)
		}
	}
	return out
}

// arrive lets all of l arrive from pr and, if whole, pass.
func (d *drawn) arrive(pr *Peer, l []Block) {
	d.t.Helper()
	for _, b := range l {
		if fresh, _ := d.p.Received(pr, b); !fresh {
			d.t.Fatalf("%v is not fresh", b)
		}
		if o := d.p.lookup(b.Piece); o.free == 0 && o.requested == 0 {
			d.p.Passed(b.Piece)
		}
	}
	d.check()
}

func (d *drawn) check() {
	d.t.Helper()
	if err := check(d.p); err != nil {
		d.t.Fatal(err)
	}
}

func TestOrderOfPieces(t *testing.T) {
	for _, tt := range []struct {
		name                         string
		availability, have, priority string
		sequential                   bool
		want                         []Index
	}{
		{"rarest first", "3241", "    ", "", false, []Index{3, 1, 0, 2}},
		{"what we have is left out", "3241", "*  *", "", false, []Index{1, 2}},
		{"what nobody has is left out", "3021", "*   ", "", false, []Index{3, 2}},
		{"priority before rarity", "3241", "    ", "4717", false, []Index{3, 1, 0, 2}},
		{"priority 0 is left out", "3241", "    ", "4010", false, []Index{0, 2}},
		{"nothing wanted", "3241", "    ", "0000", false, nil},
		{"sequential", "3241", "    ", "", true, []Index{0, 1, 2, 3}},
		{"sequential by priority", "3241", "    ", "4717", true, []Index{1, 3, 0, 2}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			// One more piece, so that there is something we have.
			d := swarm(t, tt.availability+"1", tt.have+"*", tt.priority)
			d.p.SetSequential(tt.sequential)
			got := d.p.Pick(d.peers[0], 100, nil)
			if !slices.Equal(pieces(got), tt.want) {
				t.Errorf("picked %v, want %v", pieces(got), tt.want)
			}
			for k, b := range got {
				if b.Number() != k%4 {
					t.Fatalf("blocks are out of order: %v", got)
				}
			}
			d.check()
		})
	}
}

func TestFirstPieceIsRandom(t *testing.T) {
	seen := map[Index]int{}
	for seed := range uint64(400) {
		g, _ := NewGeometry(4*BlockSize, BlockSize)
		d := &drawn{t: t, p: NewPicker(g, rand.New(rand.NewPCG(seed, 3)))}
		for range 3 {
			d.peer(" ***")
		}
		pr := d.peer("****")
		l := d.p.Pick(pr, 1, nil)
		seen[l[0].Piece]++
		d.p.DroppedAll(pr)
		d.p.Passed(1)
		if l := d.p.Pick(pr, 1, nil); l[0].Piece != 0 {
			t.Fatalf("the second piece is %d, not the rarest", l[0].Piece)
		}
	}
	for i := range Index(4) {
		if seen[i] < 70 || seen[i] > 130 {
			t.Errorf("piece %d was first %d times of 400", i, seen[i])
		}
	}
}

func TestEquallyRarePiecesInRandomOrder(t *testing.T) {
	const n, trials = 40, 300
	first := make([]int, n)
	for seed := range uint64(trials) {
		g, _ := NewGeometry(n*BlockSize, BlockSize)
		p := NewPicker(g, rand.New(rand.NewPCG(seed, 4)))
		p.Passed(0)
		a, b := p.Join(), p.Join()
		p.PeerHas(a, 3)
		p.Pick(a, 1, nil) // from here on the order is kept up to date
		p.DroppedAll(a)
		// The same HAVEs in the same order must not lead to the same picks.
		for i := range Index(n) {
			p.PeerHas(a, i)
			p.PeerHas(b, i)
		}
		first[p.Pick(b, 1, nil)[0].Piece]++
	}
	for i, k := range first[1:] {
		if k > 25 {
			t.Errorf("piece %d was first %d times of %d", i+1, k, trials)
		}
	}
}

func TestFastPeersKeepToTheirOwnPieces(t *testing.T) {
	const blocks = 64
	d := swarmOf(t, blocks, strings.Repeat("4", 60)+"4", strings.Repeat(" ", 60)+"*", "")
	r := rand.New(rand.NewPCG(5, 5))
	got := make([][]Block, 4)
	for len(got[0]) < 800 {
		k := r.IntN(4)
		l := d.p.Pick(d.peers[k], 1+r.IntN(8)+50-min(50, d.peers[k].Outstanding()), nil)
		got[k] = append(got[k], l...)
	}
	owner := map[Index]int{}
	for k, l := range got {
		for j, b := range l {
			if o, ok := owner[b.Piece]; ok && o != k {
				t.Fatalf("peers %d and %d both work on piece %d", o, k, b.Piece)
			}
			owner[b.Piece] = k
			if j > 0 && l[j-1].Piece == b.Piece && b.Number() != l[j-1].Number()+1 {
				t.Fatalf("peer %d: %v after %v", k, b, l[j-1])
			}
			if j > 0 && l[j-1].Piece != b.Piece && (b.Number() != 0 || l[j-1].Number() != blocks-1) {
				t.Fatalf("peer %d leaves piece %d at block %d", k, l[j-1].Piece, l[j-1].Number())
			}
		}
	}
}

// When few pieces are left, peers join in one piece; they still get runs.
func TestPeersShareTheLastPieceInRuns(t *testing.T) {
	d := swarmOf(t, 256, "22", "* ", "")
	runs, total := 0, 0
	last := map[*Peer]int{}
	for k := 0; ; k++ {
		pr := d.peers[k%2]
		l := d.p.Pick(pr, 20, nil)
		if d.p.Endgame() {
			total += len(l)
			break
		}
		for _, b := range l {
			if at, ok := last[pr]; !ok || b.Number() != at+1 {
				runs++
			}
			last[pr] = b.Number()
		}
		total += len(l)
	}
	if total < 256 || runs > 12 {
		t.Errorf("%d blocks in %d runs", total, runs)
	}
}

func TestSlowPeersShareAPiece(t *testing.T) {
	const blocks = 512
	d := swarmOf(t, blocks, strings.Repeat("5", 20), "*", "")
	begun := map[Index]bool{}
	next := make([][]Block, 4)
	for k := range 4 * 100 {
		pr := d.peers[k%4]
		d.arrive(pr, next[k%4])
		next[k%4] = d.p.Pick(pr, 2, nil)
		for _, b := range next[k%4] {
			begun[b.Piece] = true
		}
	}
	if len(begun) > 2 {
		t.Errorf("4 slow peers began %d pieces to get 800 blocks of 512 a piece", len(begun))
	}
	// A fast one does not join them.
	l := d.p.Pick(d.peers[4], 400, nil)
	if got := pieces(l); len(got) != 1 || begun[got[0]] {
		t.Errorf("the fast peer works on %v, the slow ones on %v", got, begun)
	}
}

func TestBegunPiecesAreFinishedFirst(t *testing.T) {
	d := swarm(t, "33333333", "*", "")
	a, b, c := d.peers[0], d.peers[1], d.peers[2]
	l := d.p.Pick(a, 6, nil) // a whole piece and a half
	m := d.p.Pick(b, 3, nil)
	d.arrive(a, l[:1])
	d.arrive(b, m[:1])
	d.p.Leave(a)
	d.p.DroppedAll(b)
	got := d.p.Pick(c, 6, nil)
	if want := []Index{l[0].Piece, m[0].Piece}; len(pieces(got)) != 2 || !slices.Contains(want, got[0].Piece) || !slices.Contains(want, got[5].Piece) {
		t.Errorf("picked %v, begun were %v", got, want)
	}
	if len(d.p.begun) != 2 {
		t.Errorf("%d pieces are begun, want 2: what had only requests is not begun any more", len(d.p.begun))
	}
	d.check()
}

// The piece that is fuller goes first, but a higher priority goes before.
func TestChoiceAmongBegunPieces(t *testing.T) {
	d := swarm(t, "3333", "*   ", "")
	a, b := d.peers[0], d.peers[1]
	d.arrive(a, d.p.PickPiece(a, 1, 1, nil))
	d.arrive(a, d.p.PickPiece(a, 2, 3, nil))
	d.arrive(a, d.p.PickPiece(a, 3, 2, nil))
	d.p.DroppedAll(a)
	if got := pieces(d.p.Pick(b, 6, nil)); !slices.Equal(got, []Index{2, 3, 1}) {
		t.Errorf("picked %v, want 2 3 1", got)
	}
	d.p.DroppedAll(b)
	d.p.SetPriority(1, 7)
	d.p.SetPriority(2, 1)
	if got := pieces(d.p.Pick(b, 6, nil)); !slices.Equal(got, []Index{1, 3, 2}) {
		t.Errorf("picked %v, want 1 3 2", got)
	}
	d.check()
}

func TestNewPieceOfHigherPriorityGoesBeforeABegunOne(t *testing.T) {
	d := swarm(t, "3333", "*   ", "")
	pr := d.peers[0]
	first := d.p.Pick(pr, 2, nil)[0].Piece
	other := first%3 + 1
	d.p.SetPriority(other, 5)
	if got := pieces(d.p.Pick(pr, 6, nil)); !slices.Equal(got, []Index{other, first}) {
		t.Errorf("picked %v, want %d %d", got, other, first)
	}
	d.check()
}

func TestUnwantedPiecesCanStillPass(t *testing.T) {
	d := swarm(t, "11", "*", "44")
	pr := d.peers[0]
	l := d.p.Pick(pr, 2, nil)
	d.p.SetPriority(1, 0)
	if d.p.Interesting(pr) || d.p.Missing() != 0 {
		t.Errorf("interesting %v, missing %d with nothing wanted", d.p.Interesting(pr), d.p.Missing())
	}
	if fresh, _ := d.p.Received(pr, l[0]); fresh || pr.Outstanding() != 1 {
		t.Errorf("block of an unwanted piece: fresh %v, %d outstanding", fresh, pr.Outstanding())
	}
	d.p.SetPriority(1, 4)
	if got := d.p.Pick(pr, 9, nil); len(got) != 3 {
		t.Errorf("%v are picked when it is wanted again, want 3 blocks", got)
	}
	d.p.SetPriority(1, 0)
	d.p.Passed(1)
	if !d.p.Have().Has(1) || pr.Outstanding() != 0 {
		t.Errorf("had %v, %d outstanding", d.p.Have().Has(1), pr.Outstanding())
	}
	d.p.SetPriority(1, 4)
	if d.p.Missing() != 0 {
		t.Error("a piece that passed is missing when it is wanted again")
	}
	d.check()
}

func TestBegunPiecesAreLimited(t *testing.T) {
	const n = 600
	d := swarmOf(t, 16, strings.Repeat("2", n), "*", "")
	r := rand.New(rand.NewPCG(6, 6))
	for k := range 4000 {
		pr := d.peers[k%2]
		l := d.p.Pick(pr, 3, nil)
		for _, b := range l {
			if r.IntN(3) == 0 {
				d.p.Dropped(pr, b)
			} else {
				d.arrive(pr, []Block{b})
			}
		}
		if ragged := len(d.p.orphans) + len(d.p.worked); ragged > d.p.limit() {
			t.Fatalf("%d begun pieces have free blocks, limit %d", ragged, d.p.limit())
		}
	}
	if d.p.Have().Count() < 400 {
		t.Errorf("only %d pieces passed", d.p.Have().Count())
	}
}

// Where all but a block of each piece is padding, very many could be begun with
// few requests.
func TestBegunPiecesAreBoundedInSize(t *testing.T) {
	const n = 40
	g, err := NewGeometry(n*MaxPieceLength, MaxPieceLength)
	if err != nil {
		t.Fatal(err)
	}
	p := NewPicker(g, rand.New(rand.NewPCG(8, 8)))
	pr := p.Join()
	all := NewBitfield(n)
	all.Fill()
	p.PeerBitfield(pr, all)
	pick := func() (l []Block) {
		l = p.Pick(pr, g.Blocks(0), nil)
		for k, b := range l {
			if k > 0 && b.Piece == l[0].Piece {
				p.Received(nil, b)
			}
		}
		return l
	}
	var asked []Block // the first block of each piece
	for l := pick(); len(l) > 0 && len(asked) < n; l = pick() {
		if len(pieces(l)) != 1 {
			t.Fatalf("blocks of pieces %v", pieces(l))
		}
		asked = append(asked, l[0])
	}
	if want := mostBegun / g.Blocks(0); len(asked) != want {
		t.Fatalf("%d pieces are begun, want %d", len(asked), want)
	}
	for i := range Index(n) {
		if !slices.ContainsFunc(asked, func(b Block) bool { return b.Piece == i }) {
			if l := p.PickPiece(pr, i, 1, nil); len(l) != 0 {
				t.Errorf("%v is begun if it is named", l)
			}
		}
	}
	p.Received(pr, asked[0])
	p.Passed(asked[0].Piece)
	if l := pick(); len(l) == 0 {
		t.Error("after one is here, no other is begun")
	}
	// Another peer has none of those that are begun.
	other, has := p.Join(), NewBitfield(n)
	for i := range Index(n) {
		if p.lookup(i) == nil && !p.Have().Has(i) {
			has.Set(i)
		}
	}
	p.PeerBitfield(other, has)
	first := p.Pick(other, 1, nil)
	if len(first) != 1 || !has.Has(first[0].Piece) {
		t.Fatalf("a peer that has nothing of what is begun is asked for %v", first)
	}
	for _, b := range p.Pick(other, g.Blocks(0), nil) {
		if b.Piece != first[0].Piece {
			t.Fatalf("beside %v it is asked for %v", first, b)
		}
	}
	if err := check(p); err != nil {
		t.Error(err)
	}
}

// A peer with little to offer finds the rarest of it among many pieces.
func TestSparsePeer(t *testing.T) {
	const n = 20000
	g, _ := NewGeometry(n*BlockSize, BlockSize)
	p := NewPicker(g, rand.New(rand.NewPCG(7, 7)))
	p.Passed(0)
	var others [3]*Peer
	for k := range others {
		others[k] = p.Join()
	}
	pr := p.Join()
	for k, i := range []Index{17, 4000, 9999, 19999} {
		p.PeerHas(pr, i)
		for j := range 3 - k {
			p.PeerHas(others[j], i)
		}
	}
	if got := pieces(p.Pick(pr, 9, nil)); !slices.Equal(got, []Index{19999, 9999, 4000, 17}) {
		t.Errorf("picked %v", got)
	}
}

func TestPickPiece(t *testing.T) {
	d := swarm(t, "2222", "*  ", "4404")
	a, b := d.peers[0], d.peers[1]
	if got := d.p.PickPiece(a, 0, 9, nil); len(got) != 0 {
		t.Errorf("blocks of a piece we have: %v", got)
	}
	if got := d.p.PickPiece(a, 2, 9, nil); len(got) != 0 {
		t.Errorf("blocks of a piece we do not want: %v", got)
	}
	if got := d.p.PickPiece(d.peer("*  *"), 1, 9, nil); len(got) != 0 {
		t.Errorf("blocks of a piece that the peer lacks: %v", got)
	}
	got := d.p.PickPiece(a, 3, 2, nil)
	got = d.p.PickPiece(b, 3, 9, got)
	if len(got) != 4 || !slices.Equal(pieces(got), []Index{3}) {
		t.Errorf("blocks of piece 3: %v", got)
	}
	if got := d.p.PickPiece(b, 3, 1, nil); len(got) != 0 {
		t.Errorf("a duplicate: %v", got)
	}
	// While it works on another piece it can still be asked for this one.
	c := d.peer("****")
	d.p.Pick(c, 1, nil)
	d.p.Dropped(a, got[0])
	if got := d.p.PickPiece(c, 3, 5, nil); len(got) != 1 {
		t.Errorf("%v, want the block that was dropped", got)
	}
	d.check()
}

func TestDeterminism(t *testing.T) {
	run := func() (log []Block) {
		p, peers, r := crowdOf(t, 10_000, 100, 16*BlockSize)
		for range 3000 {
			pr := peers[r.IntN(len(peers))]
			l := p.Pick(pr, 1+r.IntN(40), nil)
			log = append(log, l...)
			for _, b := range l {
				switch r.IntN(9) {
				case 0:
					p.Dropped(pr, b)
				default:
					p.Received(pr, b)
				}
			}
			p.PeerHas(peers[r.IntN(len(peers))], Index(r.IntN(10_000)))
		}
		return log
	}
	a, b := run(), run()
	if !slices.Equal(a, b) || len(a) < 10000 {
		t.Errorf("two runs of %d and %d blocks differ", len(a), len(b))
	}
}
