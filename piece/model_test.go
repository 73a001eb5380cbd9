package piece

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// model is a slow picture of what a picker must know, kept in plain maps and
// recounted for every question.
type model struct {
	geo    Geometry
	have   map[Index]bool
	prio   map[Index]uint8
	failed map[Index]bool
	holder map[Index]*Peer
	peers  []*Peer
	has    map[*Peer]map[Index]bool
	asked  map[Block][]*Peer
	got    map[Block]bool
	inRow  bool // sequential
}

func newModel(g Geometry) *model {
	m := &model{
		geo:    g,
		have:   map[Index]bool{},
		prio:   map[Index]uint8{},
		failed: map[Index]bool{},
		holder: map[Index]*Peer{},
		has:    map[*Peer]map[Index]bool{},
		asked:  map[Block][]*Peer{},
		got:    map[Block]bool{},
	}
	for i := range Index(g.Pieces()) {
		m.prio[i] = DefaultPriority
	}
	return m
}

func (m *model) wanted(i Index) bool { return m.prio[i] > 0 && !m.have[i] }

func (m *model) interesting(pr *Peer) bool {
	for i := range m.has[pr] {
		if m.wanted(i) {
			return true
		}
	}
	return false
}

func (m *model) copies(i Index) int {
	n := 0
	for _, pr := range m.peers {
		if m.has[pr][i] {
			n++
		}
	}
	return n
}

func (m *model) blocks(i Index) []Block {
	var l []Block
	for k := range m.geo.Blocks(i) {
		l = append(l, m.geo.Block(i, k))
	}
	return l
}

func (m *model) free(b Block) bool { return !m.got[b] && len(m.asked[b]) == 0 }

// open tells whether nothing of piece i is requested or here.
func (m *model) open(i Index) bool {
	for _, b := range m.blocks(i) {
		if !m.free(b) {
			return false
		}
	}
	return m.wanted(i)
}

// offers tells whether there is a free block that pr may be asked for.
func (m *model) offers(pr *Peer) bool {
	for i := range Index(m.geo.Pieces()) {
		if !m.wanted(i) || !m.has[pr][i] || m.holder[i] != nil && m.holder[i] != pr {
			continue
		}
		for _, b := range m.blocks(i) {
			if m.free(b) {
				return true
			}
		}
	}
	return false
}

func (m *model) endgame() bool {
	missing := false
	for i := range Index(m.geo.Pieces()) {
		if !m.wanted(i) {
			continue
		}
		missing = true
		if m.holder[i] != nil || m.copies(i) == 0 {
			continue
		}
		for _, b := range m.blocks(i) {
			if m.free(b) {
				return false
			}
		}
	}
	return missing
}

// duplicable tells whether there is a block that pr could be asked for too.
func (m *model) duplicable(pr *Peer) bool {
	for b, l := range m.asked {
		if len(l) > 0 && len(l) < maxCopies && !slices.Contains(l, pr) && m.wanted(b.Piece) && m.has[pr][b.Piece] && m.holder[b.Piece] == nil {
			return true
		}
	}
	return false
}

func (m *model) forget(i Index) {
	for _, b := range m.blocks(i) {
		delete(m.asked, b)
		delete(m.got, b)
	}
	delete(m.holder, i)
}

func (m *model) drop(pr *Peer, b Block) {
	k := slices.Index(m.asked[b], pr)
	if k < 0 {
		return
	}
	m.asked[b] = slices.Delete(slices.Clone(m.asked[b]), k, k+1)
	if m.holder[b.Piece] == pr && len(m.outstanding(pr, b.Piece)) == 0 {
		delete(m.holder, b.Piece)
	}
}

func (m *model) outstanding(pr *Peer, only ...Index) []Block {
	var l []Block
	for b, peers := range m.asked {
		if slices.Contains(peers, pr) && (len(only) == 0 || only[0] == b.Piece) {
			l = append(l, b)
		}
	}
	slices.SortFunc(l, func(a, b Block) int {
		return int(a.Piece)<<20 + a.Number() - int(b.Piece)<<20 - b.Number()
	})
	return l
}

// randomPace expects anything of anybody.
func randomPace(r *rand.Rand) func(*Peer) Pace {
	some := func() time.Duration { return time.Duration(r.Int64N(int64(time.Second))) * time.Duration(r.IntN(3)) }
	return func(*Peer) Pace { return Pace{some(), some(), some() / 10} }
}

// picked checks what Pick and Duplicate returned and notes it; late tells
// whether everything that is requested from others is.
func (m *model) picked(pr *Peer, n int, got []Block, late bool) error {
	if len(got) > n {
		return fmt.Errorf("%d blocks, asked for %d", len(got), n)
	}
	for _, b := range got {
		i := b.Piece
		switch {
		case m.geo.Block(i, b.Number()) != b:
			return fmt.Errorf("%v is not a block", b)
		case !m.wanted(i):
			return fmt.Errorf("%v is not wanted", b)
		case !m.has[pr][i]:
			return fmt.Errorf("%v: the peer lacks the piece", b)
		case m.got[b]:
			return fmt.Errorf("%v is here", b)
		case m.holder[i] != nil && m.holder[i] != pr:
			return fmt.Errorf("%v is another peer's to deliver", b)
		case slices.Contains(m.asked[b], pr):
			return fmt.Errorf("%v requested twice from one peer", b)
		case len(m.asked[b]) > 0 && !m.endgame():
			return fmt.Errorf("%v requested twice outside endgame", b)
		case len(m.asked[b]) > 0 && m.holder[i] != nil:
			return fmt.Errorf("%v requested twice though exclusive", b)
		}
		if m.open(i) {
			if err := m.begunRight(pr, i); err != nil {
				return err
			}
		}
		m.asked[b] = append(m.asked[b], pr)
		if m.failed[i] {
			m.holder[i] = pr
		}
	}
	if len(got) < n && m.offers(pr) {
		return fmt.Errorf("%d blocks of %d though there are free ones", len(got), n)
	}
	if len(got) == 0 && late && m.endgame() && m.duplicable(pr) {
		return fmt.Errorf("nothing in endgame though there are blocks to duplicate")
	}
	return nil
}

// begunRight checks the choice of a new piece: the highest priority, then the
// rarest or, in sequential mode, the lowest number.
func (m *model) begunRight(pr *Peer, i Index) error {
	for o := range m.has[pr] {
		switch {
		case !m.open(o) || m.prio[o] < m.prio[i]:
		case m.prio[o] > m.prio[i]:
			return fmt.Errorf("piece %d of priority %d begun before %d of priority %d", i, m.prio[i], o, m.prio[o])
		case m.inRow:
			if o < i {
				return fmt.Errorf("piece %d begun before piece %d", i, o)
			}
		case len(m.have) > 0 && m.copies(o) < m.copies(i):
			return fmt.Errorf("piece %d with %d copies begun before %d with %d", i, m.copies(i), o, m.copies(o))
		}
	}
	return nil
}

// compare holds the picker against the model.
func (m *model) compare(p *Picker) error {
	missing := 0
	for i := range Index(m.geo.Pieces()) {
		if m.wanted(i) {
			missing++
		}
		if p.Have().Has(i) != m.have[i] {
			return fmt.Errorf("have piece %d: %v", i, p.Have().Has(i))
		}
		if got, want := p.Availability(i), m.copies(i); got != want {
			return fmt.Errorf("availability of piece %d is %d, want %d", i, got, want)
		}
		if got, want := p.Exclusive(i), m.holder[i]; got != want {
			return fmt.Errorf("holder of piece %d: %p, want %p", i, got, want)
		}
	}
	if p.Missing() != missing {
		return fmt.Errorf("missing %d, want %d", p.Missing(), missing)
	}
	seeds := 0
	for _, pr := range m.peers {
		if len(m.has[pr]) == m.geo.Pieces() {
			seeds++
		}
		if got, want := p.Interesting(pr), m.interesting(pr); got != want {
			return fmt.Errorf("interesting %v, want %v", got, want)
		}
		if pr.Count() != len(m.has[pr]) || pr.IsSeed() != (len(m.has[pr]) == m.geo.Pieces()) {
			return fmt.Errorf("peer has %d pieces, seed %v; want %d", pr.Count(), pr.IsSeed(), len(m.has[pr]))
		}
		if got, want := pr.Outstanding(), len(m.outstanding(pr)); got != want {
			return fmt.Errorf("outstanding %d, want %d", got, want)
		}
	}
	if p.Seeds() != seeds {
		return fmt.Errorf("%d seeds, want %d", p.Seeds(), seeds)
	}
	if got, want := p.Endgame(), m.endgame(); got != want {
		return fmt.Errorf("endgame %v, want %v", got, want)
	}
	return check(p)
}

// check looks for contradictions inside the picker.
func check(p *Picker) error {
	opens := 0
	for i := range Index(p.pieces) {
		st := p.state[i]
		b := p.lookup(i)
		open := p.wanted.Has(i) && b == nil
		if open {
			opens++
		}
		if open != (st&statusOpen != 0) {
			return fmt.Errorf("piece %d: open flag %v, want %v", i, !open, open)
		}
		for prio, s := range p.open {
			if s != nil && s.Has(i) != (open && int(st.prio()) == prio) {
				return fmt.Errorf("piece %d is wrong in open[%d]", i, prio)
			}
		}
		if b != nil {
			if err := checkBegun(p, b, i); err != nil {
				return err
			}
		}
	}
	asking := 0
	for _, b := range p.begun {
		asking += b.requested
	}
	if left := left(p); p.Left() != left {
		return fmt.Errorf("%d blocks are left, want %d", p.Left(), left)
	}
	if p.asking != asking {
		return fmt.Errorf("%d blocks are requested, want %d", p.asking, asking)
	}
	if p.opens != opens {
		return fmt.Errorf("%d open pieces, want %d", p.opens, opens)
	}
	for _, l := range [][]*begun{p.orphans, p.worked} {
		for k, b := range l {
			if p.lookup(b.piece) != b || b.listed != k {
				return fmt.Errorf("piece %d is wrong in a list", b.piece)
			}
		}
	}
	for _, s := range p.open {
		if s != nil {
			if err := checkSummary(s); err != nil {
				return err
			}
		}
	}
	for _, pr := range p.peers {
		if pr.has != nil {
			if err := checkSummary(pr.has); err != nil {
				return err
			}
		}
	}
	return checkRarity(&p.rare)
}

// left counts the blocks that are wanted and not here.
func left(p *Picker) (n int) {
	for i := range p.wanted.Indexes() {
		n += p.geo.Blocks(i)
		if b := p.lookup(i); b != nil {
			for _, who := range b.who {
				if who == arrived {
					n--
				}
			}
		}
	}
	return n
}

func checkBegun(p *Picker, b *begun, i Index) error {
	free, requested, workers := 0, 0, 0
	for k, who := range b.who {
		switch {
		case who == 0:
			free++
		case who > 0:
			requested++
		}
		if (who == 0) != b.isFree(k) {
			return fmt.Errorf("piece %d block %d: free bit is wrong", i, k)
		}
	}
	for _, pr := range p.peers {
		if p.workOf(pr) == b {
			workers++
		}
	}
	if b.piece != i || free != b.free || requested != b.requested || workers != b.workers || len(b.who) != p.geo.Blocks(i) {
		return fmt.Errorf("piece %d: free %d/%d requested %d/%d workers %d/%d", i, b.free, free, b.requested, requested, b.workers, workers)
	}
	if free == b.blocks {
		return fmt.Errorf("piece %d is begun for nothing", i)
	}
	var want *[]*begun
	if free > 0 && p.wanted.Has(i) {
		want = &p.orphans
		if workers > 0 {
			want = &p.worked
		}
	}
	if b.in != want {
		return fmt.Errorf("piece %d is in the wrong list", i)
	}
	return nil
}

func checkSummary(s *set) error {
	for w := range s.words() {
		if (s.word(w) != 0) != (s.sum[w>>6]&(1<<(w&63)) != 0) {
			return fmt.Errorf("summary of word %d is wrong", w)
		}
	}
	return nil
}

func checkRarity(r *rarity) error {
	if r.stale {
		return nil
	}
	at := int32(0)
	for k, s := range r.segs {
		if s.start != at || s.live < s.start || s.end < s.live {
			return fmt.Errorf("segment %d is %v after %d", k, s, at)
		}
		at = s.end
	}
	if int(at) != len(r.order) {
		return fmt.Errorf("segments end at %d of %d", at, len(r.order))
	}
	for at, i := range r.order {
		n := r.segment(i)
		s := r.segs[n]
		at := int32(at)
		if r.pos[i] != at || at < s.start || at >= s.end {
			return fmt.Errorf("piece %d at %d is outside its segment %v", i, at, s)
		}
		if (at < s.live) != (r.state[i]&statusOpen != 0) {
			return fmt.Errorf("piece %d at %d is on the wrong side of %v", i, at, s)
		}
		if prio := r.state[i].prio(); at < s.live && n-r.group(prio) < r.low[prio] {
			return fmt.Errorf("piece %d is below the lowest level", i)
		}
	}
	return nil
}

// chaos is one event at random, told to the picker and to the model.
func (m *model) chaos(p *Picker, r *rand.Rand) error {
	n := m.geo.Pieces()
	i := Index(r.IntN(n))
	if len(m.peers) == 0 || len(m.peers) < 12 && r.IntN(40) == 0 {
		pr := p.Join()
		m.peers = append(m.peers, pr)
		m.has[pr] = map[Index]bool{}
		return nil
	}
	pr := m.peers[r.IntN(len(m.peers))]
	out := m.outstanding(pr)
	switch k := r.IntN(100); {
	case k < 30:
		n := 1 + r.IntN(6)
		if r.IntN(10) == 0 {
			n = 200
		}
		l := p.Pick(pr, n, nil)
		if r.IntN(4) > 0 {
			return m.picked(pr, n, p.Duplicate(pr, n-len(l), allLateBut(pr), l), true)
		}
		return m.picked(pr, n, p.Duplicate(pr, n-len(l), randomPace(r), l), false)
	case k < 33:
		got := p.PickPiece(pr, i, 3, nil)
		for _, b := range got {
			if !m.free(b) || !m.wanted(i) || b.Piece != i || !m.has[pr][i] || m.holder[i] != nil && m.holder[i] != pr {
				return fmt.Errorf("PickPiece(%d): %v", i, b)
			}
			m.asked[b] = append(m.asked[b], pr)
			if m.failed[i] {
				m.holder[i] = pr
			}
		}
	case k < 63:
		return m.chaosReceived(p, r, pr, out)
	case k < 67:
		if len(out) > 0 {
			b := out[r.IntN(len(out))]
			p.Dropped(pr, b)
			m.drop(pr, b)
		} else {
			p.Dropped(pr, m.geo.Block(i, 0)) // not requested
		}
	case k < 69:
		p.DroppedAll(pr)
		m.dropAll(pr)
	case k < 83:
		if got, want := p.PeerHas(pr, i), !m.has[pr][i]; got != want {
			return fmt.Errorf("PeerHas is news: %v, want %v", got, want)
		}
		m.has[pr][i] = true
	case k < 84:
		if got, want := p.PeerLacks(pr, i), m.has[pr][i]; got != want {
			return fmt.Errorf("PeerLacks is news: %v, want %v", got, want)
		}
		delete(m.has[pr], i)
	case k < 87:
		f, has := NewBitfield(n), map[Index]bool{}
		density := r.IntN(6)
		for i := range Index(n) {
			if r.IntN(5) < density {
				f.Set(i)
				has[i] = true
			}
		}
		p.PeerBitfield(pr, f)
		m.has[pr] = has
	case k < 88:
		p.Leave(pr)
		m.dropAll(pr)
		m.peers = slices.DeleteFunc(m.peers, func(o *Peer) bool { return o == pr })
		delete(m.has, pr)
	default:
		m.chaosPiece(p, r, i)
	}
	return nil
}

func (m *model) dropAll(pr *Peer) {
	for b := range m.asked {
		m.drop(pr, b)
	}
	for i, h := range m.holder {
		if h == pr {
			delete(m.holder, i)
		}
	}
}

func (m *model) chaosReceived(p *Picker, r *rand.Rand, pr *Peer, out []Block) error {
	b := m.geo.Block(Index(r.IntN(m.geo.Pieces())), 0) // unasked for, mostly
	if len(out) > 0 && r.IntN(30) > 0 {
		b = out[r.IntN(min(4, len(out)))]
	}
	i := b.Piece
	want := m.wanted(i) && !m.got[b] && (!m.failed[i] || m.holder[i] == pr)
	fresh, cancel := p.Received(pr, b)
	if fresh != want {
		return fmt.Errorf("Received(%v) fresh %v, want %v", b, fresh, want)
	}
	if !fresh {
		if len(cancel) > 0 {
			return fmt.Errorf("Received(%v) cancels an old block", b)
		}
		if !m.got[b] {
			m.drop(pr, b)
		}
		return nil
	}
	if slices.Contains(cancel, pr) {
		return fmt.Errorf("Received(%v) cancels at the sender", b)
	}
	for _, o := range m.asked[b] {
		if o != pr && !slices.Contains(cancel, o) {
			return fmt.Errorf("Received(%v) does not cancel at all others", b)
		}
	}
	if len(cancel) > len(m.asked[b]) {
		return fmt.Errorf("Received(%v) cancels %d of %d", b, len(cancel), len(m.asked[b]))
	}
	delete(m.asked, b)
	m.got[b] = true
	for _, b := range m.blocks(i) {
		if !m.got[b] {
			return nil
		}
	}
	if r.IntN(4) == 0 {
		p.Failed(i)
		m.forget(i)
		m.failed[i] = true
	} else {
		p.Passed(i)
		m.forget(i)
		delete(m.failed, i)
		m.have[i] = true
	}
	return nil
}

func (m *model) chaosPiece(p *Picker, r *rand.Rand, i Index) {
	switch k := r.IntN(12); {
	case k < 5:
		prio := uint8(r.IntN(8))
		if r.IntN(3) > 0 {
			prio = DefaultPriority
		}
		p.SetPriority(i, prio)
		m.prio[i] = prio
	case k < 7:
		p.Passed(i)
		if !m.have[i] {
			m.forget(i)
			delete(m.failed, i)
			m.have[i] = true
		}
	case k < 10:
		p.Lost(i)
		m.forget(i)
		delete(m.have, i)
	case k < 11:
		p.Failed(i)
		m.forget(i)
		delete(m.have, i)
		m.failed[i] = true
	default:
		m.inRow = r.IntN(4) == 0
		p.SetSequential(m.inRow)
	}
}

// A picker agrees with the model after every one of many random events, and
// then fetches everything that is wanted.
func TestPickerAgreesWithTheModel(t *testing.T) {
	events := 2400
	if testing.Short() {
		events = 500
	}
	for seed := range uint64(14) {
		r := rand.New(rand.NewPCG(seed, 7))
		length := []int64{BlockSize, 3 * BlockSize, 20*BlockSize - 5, 70 * BlockSize, 100}[seed%5]
		most, events := 90, events
		switch {
		case length > BlockSize:
			most = 20
		case length < BlockSize:
			most, events = 500, events/4
		}
		g, err := NewGeometry(length*int64(4+r.IntN(most))-int64(r.IntN(100)), length)
		if err != nil {
			t.Fatal(err)
		}
		p, m := NewPicker(g, r), newModel(g)
		for k := range events {
			err := m.chaos(p, r)
			if err == nil {
				err = m.compare(p)
			}
			if err != nil {
				t.Fatalf("seed %d, event %d: %v", seed, k, err)
			}
		}
		if err := m.finish(p); err != nil {
			t.Fatalf("seed %d, finishing: %v", seed, err)
		}
	}
}

// finish lets a new seed deliver all that is missing.
func (m *model) finish(p *Picker) error {
	for _, pr := range slices.Clone(m.peers) {
		p.Leave(pr)
		m.dropAll(pr)
	}
	m.peers = nil
	pr := p.Join()
	m.peers = []*Peer{pr}
	m.has[pr] = map[Index]bool{}
	f := NewBitfield(m.geo.Pieces())
	f.Fill()
	p.PeerBitfield(pr, f)
	for i := range f.Indexes() {
		m.has[pr][i] = true
	}
	for range m.geo.Pieces() * m.geo.Blocks(0) {
		l := p.Pick(pr, 10, nil)
		if len(l) == 0 && p.Missing() == 0 {
			return nil
		}
		if err := m.picked(pr, 10, l, false); err != nil {
			return err
		}
		for _, b := range l {
			if fresh, _ := p.Received(pr, b); !fresh {
				return fmt.Errorf("%v is not fresh", b)
			}
			delete(m.asked, b)
			m.got[b] = true
		}
		for _, b := range l {
			done := true
			for _, o := range m.blocks(b.Piece) {
				done = done && m.got[o]
			}
			if done && !m.have[b.Piece] {
				p.Passed(b.Piece)
				m.forget(b.Piece)
				m.have[b.Piece] = true
			}
		}
		if err := check(p); err != nil {
			return err
		}
	}
	return fmt.Errorf("%d pieces still missing", p.Missing())
}
