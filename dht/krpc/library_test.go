package krpc

import (
	"bytes"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	library "github.com/anacrolix/dht/v2/krpc"
	"github.com/anacrolix/torrent/bencode"
)

// theirs decodes a packet with the library, which panics on addresses that
// are too short.
func theirs(packet []byte) (m library.Msg, ok bool) {
	defer func() {
		if recover() != nil {
			ok = false
		}
	}()
	return m, bencode.Unmarshal(packet, &m) == nil
}

// agree says what the library and we read differently out of a packet that
// both accept.
func agree(t *testing.T, packet []byte) bool {
	t.Helper()
	var m Message
	lib, ok := theirs(packet)
	if m.Decode(packet) != None || !ok {
		return false
	}
	differ := func(what string, got, want any) {
		t.Helper()
		t.Fatalf("%q: %s is %v, the library has %v", packet, what, got, want)
	}
	if string(m.T) != lib.T || string(m.Kind) != lib.Y || (m.Kind == Query && string(m.Asked) != lib.Q) {
		differ("t, y, q", []any{m.T, m.Kind, m.Asked}, []any{lib.T, lib.Y, lib.Q})
	}
	if m.Kind == Query {
		a := lib.A
		if id := m.ID.AsByteArray(); id != a.ID {
			differ("id", id, a.ID)
		}
		if hash := m.InfoHash.AsByteArray(); hash != a.InfoHash {
			differ("info_hash", hash, a.InfoHash)
		}
		if target := m.Target.AsByteArray(); target != a.Target {
			differ("target", target, a.Target)
		}
		if string(m.Token) != a.Token && len(a.Token) <= maxToken {
			differ("token", m.Token, a.Token)
		}
		if m.ImpliedPort != a.ImpliedPort {
			differ("implied_port", m.ImpliedPort, a.ImpliedPort)
		}
		if m.Has&HasSeq != 0 && m.Seq != *a.Seq {
			differ("seq", m.Seq, *a.Seq)
		}
		if m.Cas != a.Cas || !bytes.Equal(m.Salt, a.Salt) || (m.K != nil && [32]byte(m.K) != a.K) {
			differ("cas, salt, k", []any{m.Cas, m.Salt, m.K}, []any{a.Cas, a.Salt, a.K})
		}
	}
	if m.Kind == Reply && lib.R != nil {
		if id := m.ID.AsByteArray(); id != lib.R.ID {
			differ("id", id, lib.R.ID)
		}
		if m.Has&HasToken != 0 && string(m.Token) != *lib.R.Token {
			differ("token", m.Token, *lib.R.Token)
		}
		var got, want []netip.AddrPort
		for _, addr := range Nodes4(m.Nodes) {
			got = append(got, addr)
		}
		for _, n := range lib.R.Nodes {
			if ip, _ := netip.AddrFromSlice(n.Addr.IP); n.Addr.Port != 0 {
				want = append(want, netip.AddrPortFrom(ip.Unmap(), uint16(n.Addr.Port)))
			}
		}
		if !slices.Equal(got, want) {
			differ("nodes", got, want)
		}
		if got := slices.Collect(m.Peers()); len(got) > len(lib.R.Values) {
			differ("values", got, lib.R.Values)
		}
		if !bytes.Equal(m.V, lib.R.V) {
			differ("v", m.V, lib.R.V)
		}
	}
	return true
}

func TestTheLibraryReadsTheSame(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(3, 4))
	var seeds [][]byte
	for packet := range examples() {
		seeds = append(seeds, []byte(packet))
		if !agree(t, []byte(packet)) {
			t.Errorf("%q is not accepted by both", packet)
		}
	}
	slices.SortFunc(seeds, bytes.Compare)
	both := 0
	for range 20_000 {
		if agree(t, mutate(rng, seeds[rng.IntN(len(seeds))])) {
			both++
		}
	}
	if both < 300 {
		t.Errorf("only %d packets were accepted by both", both)
	}
}

func FuzzTheLibraryReadsTheSame(f *testing.F) {
	for packet := range examples() {
		f.Add([]byte(packet))
	}
	f.Fuzz(func(t *testing.T, packet []byte) { agree(t, packet) })
}
