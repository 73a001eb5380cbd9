package session

import (
	"testing"

	"btd/peerwire"
	"btd/piece"
)

// TestWhatAPeerTookBackBeforeTheMetadata: a seed that begins to super-seed takes
// back what it told those who still wait for the metadata.
func TestWhatAPeerTookBackBeforeTheMetadata(t *testing.T) {
	t.Parallel()
	c := makeContent(t, 32<<10, map[string]int{"": 40 * 32 << 10})
	s := open(t, nil)
	addMagnet(t, s, c.link(), AddOptions{})
	await(t, s, c, "the wait", func(v Torrent) bool { return v.State == StateMetadata }) // else callers are turned away
	r := dialRaw(t, s, c, "taker", rawReserved{fast: true, extended: true})
	r.send(peerwire.AppendExtended(peerwire.AppendHaveAll(nil), 0, (&peerwire.ExtHandshake{}).Append(nil)))
	var h peerwire.ExtHandshake
	if err := h.Parse(r.until(peerwire.Extended).Payload); err != nil {
		t.Fatal(err)
	}
	id := h.M[peerwire.ExtDontHave]
	if id == 0 {
		t.Fatal("it does not understand what is taken back")
	}
	var b []byte
	for i := range piece.Index(40) {
		if i != 3 {
			b = peerwire.AppendDontHave(b, id, i)
		}
	}
	b = peerwire.AppendHave(b, 7)
	for _, beyond := range []piece.Index{40, piece.MaxPieces - 1, piece.MaxPieces, 1<<32 - 1} {
		b = peerwire.AppendDontHave(b, id, beyond)
	}
	r.send(append(b, 0, 0, 0, 1, byte(peerwire.Unchoke)))
	// All of it was read once an answer to this request came.
	r.send(requestAll([]piece.Block{rawBlock(0, 0)}))
	r.until(peerwire.Reject)

	add(t, s, c, AddOptions{})
	asked := map[uint32]int{}
	for len(asked) < 2 || asked[3] < 2 || asked[7] < 2 {
		m := r.until(peerwire.Request)
		asked[m.Index]++
		if m.Index != 3 && m.Index != 7 {
			t.Fatalf("asked for piece %d, which it has no longer", m.Index)
		}
	}
	if v := await(t, s, c, "the metadata", func(v Torrent) bool { return v.Waiting == nil }); v.Peers != 1 {
		t.Errorf("%d peers", v.Peers)
	}
}
