package store

import (
	"bytes"
	"crypto/ed25519"
	"encoding/hex"
	"fmt"
	"math"
	"net/netip"
	"strings"
	"testing"
	"time"

	"btd/dht/krpc"
)

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.Join(strings.Fields(s), ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// The vector of BEP 33, "Test Vectors".
func TestFilterVector(t *testing.T) {
	t.Parallel()
	want := unhex(t, `
 F6C3F5EA A07FFD91 BDE89F77 7F26FB2B FF37BDB8 FB2BBAA2 FD3DDDE7 BACFFF75 EE7CCBAE
 FE5EEDB1 FBFAFF67 F6ABFF5E 43DDBCA3 FD9B9FFD F4FFD3E9 DFF12D1B DF59DB53 DBE9FA5B
 7FF3B8FD FCDE1AFB 8BEDD7BE 2F3EE71E BBBFE93B CDEEFE14 8246C2BC 5DBFF7E7 EFDCF24F
 D8DC7ADF FD8FFFDF DDFFF7A4 BBEEDF5C B95CE81F C7FCFF1F F4FFFFDF E5F7FDCB B7FD79B3
 FA1FC77B FE07FFF9 05B7B7FF C7FEFEFF E0B8370B B0CD3F5B 7F2BD93F EB4386CF DD6F7FD5
 BFAF2E9E BFFFFEEC D67ADBF7 C67F17EF D5D75EBA 6FFEBA7F FF47A91E B1BFBB53 E8ABFB57
 62ABE8FF 237279BF EFBFEEF5 FFC5FEBF DFE5ADFF ADFEE1FB 737FFFFB FD9F6AEF FEEE76B6
 FD8F72EF`)
	var f, low Filter
	for i := range 256 {
		low.Insert(netip.AddrFrom4([4]byte{192, 0, 2, byte(i)}))
	}
	for i := range 1000 {
		f.Insert(netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 14: byte(i >> 8), 15: byte(i)}))
	}
	f.Add(low[:])
	f.Add(low[:10]) // ignored
	if !bytes.Equal(f[:], want) {
		t.Errorf("got %X", f)
	}
	if got := f.Estimate(); math.Abs(got-1224.9308) > 0.0001 {
		t.Errorf("the estimate is %v, want 1224.9308", got)
	}
	var empty, full Filter
	for i := range full {
		full[i] = 0xff
	}
	if empty.Estimate() != 0 || math.IsInf(full.Estimate(), 0) {
		t.Errorf("empty is %v, full is %v", empty.Estimate(), full.Estimate())
	}
}

func TestFiltersOfATorrent(t *testing.T) {
	t.Parallel()
	p, hash := NewPeers(PeersConfig{}, false, krpc.ID{}, start), far(9, 9)
	if _, _, ok := p.Filters(hash, 0, start); ok {
		t.Error("there are filters for a torrent that nobody announced")
	}
	for n := range 90 {
		p.Announce(hash, netip.AddrPortFrom(global(n), 1), n%3 == 0, start)
	}
	seeds, peers, ok := p.Filters(hash, 0, start)
	if s, l := seeds.Estimate(), peers.Estimate(); !ok || s < 27 || s > 33 || l < 55 || l > 65 {
		t.Errorf("%.1f seeds and %.1f peers, want about 30 and 60", s, l)
	}
}

// The vectors of BEP 44, "Test Vectors".
func TestItemVectors(t *testing.T) {
	t.Parallel()
	value := []byte("12:Hello World!")
	key := unhex(t, "77ff84905a91936367c01360803104f92432fcd904a43511876df5cdf3e7e548")
	for _, c := range []struct{ salt, signed, target, sig string }{
		{
			"", "3:seqi1e1:v12:Hello World!", "4a533d47ec9c7d95b1ad75f576cffc641853b750",
			"305ac8aeb6c9c151fa120f120ea2cfb923564e11552d06a5d856091e5e853cff1260d3f39e4999684aa92eb73ffd136e6f4f3ecbfda0ce53a1608ecd7ae21f01",
		},
		{
			"foobar", "4:salt6:foobar3:seqi1e1:v12:Hello World!", "411eba73b6f087ca51a3795d9c8c938d365e32c1",
			"6834284b6b24c3204eb2fea824d82f88883a3d95e8b4a21b8c0ded553d17d17ddf9a8a7104b1258f30bed3787e6cb896fca78c58f8e03b5f18f14951a87d9a08",
		},
	} {
		salt, sig := []byte(c.salt), unhex(t, c.sig)
		if got := string(AppendSigned(nil, salt, 1, value)); got != c.signed {
			t.Errorf("signed is %q, want %q", got, c.signed)
		}
		target := MutableTarget(key, salt)
		if target.String() != c.target {
			t.Errorf("target %v, want %v", target, c.target)
		}
		if !Verify(key, salt, 1, value, sig) || Verify(key, salt, 2, value, sig) || Verify(key, []byte("x"), 1, value, sig) ||
			Verify(key[:31], salt, 1, value, sig) || Verify(key, salt, 1, value, sig[:63]) {
			t.Error("the signature is not told from bad ones")
		}
		s := NewItems(ItemsConfig{}, krpc.ID{})
		var b krpc.Body
		b.SetKey(key, sig)
		b.SetSeq(1)
		b.SetV(value)
		b.SetSalt(salt)
		if code := s.Put(&b, global(1), start); code != 0 {
			t.Errorf("put: %d", code)
		}
		if i := s.Get(target, start); i == nil || !bytes.Equal(i.V, value) || i.Seq != 1 || !bytes.Equal(i.Sig, sig) || !i.Mutable() {
			t.Errorf("got %+v", i)
		}
	}
	if got := ImmutableTarget(value); got.String() != "e5f96f6f38320f0f33959cb4d3d656452117aadb" {
		t.Errorf("immutable target %v", got)
	}
}

// The vectors of BEP 46, "Test Vectors".
func TestTargetVectorsOfBEP46(t *testing.T) {
	t.Parallel()
	key := unhex(t, "8543d3e6115f0f98c944077a4493dcd543e49c739fd998550a1f614ab36ed63e")
	if got := MutableTarget(key, nil).String(); got != "cc3f9d90b572172053626f9980ce261a850d050b" {
		t.Errorf("target %v", got)
	}
	if got := MutableTarget(key, []byte("n")).String(); got != "59ee7c2cb9b4f7eb1986ee2d18fd2fdb8a56554f" {
		t.Errorf("target with salt %v", got)
	}
}

// put is a signed put query.
func put(key ed25519.PrivateKey, seq int64, v, salt string) krpc.Body {
	var b krpc.Body
	b.SetV([]byte(v))
	b.SetSeq(seq)
	b.SetSalt([]byte(salt))
	b.SetKey(key.Public().(ed25519.PublicKey), Sign(key, []byte(salt), seq, b.V))
	return b
}

func TestRulesOfItems(t *testing.T) {
	t.Parallel()
	key := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{3}, 32))
	other := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{4}, 32))
	s := NewItems(ItemsConfig{}, krpc.ID{})
	with := func(b krpc.Body, cas int64) krpc.Body { b.SetCas(cas); return b }
	immutable := func(v string) (b krpc.Body) { b.SetV([]byte(v)); return b }
	forged := put(other, 9, "1:x", "")
	forged.K = key.Public().(ed25519.PublicKey)
	big := "996:" + strings.Repeat("x", 996)
	for i, c := range []struct {
		name string
		body krpc.Body
		want int
	}{
		{"first, cas ignored", with(put(key, 5, "1:a", ""), 3), 0},
		{"again", put(key, 5, "1:a", ""), 0},
		{"same number, other value", put(key, 5, "1:b", ""), krpc.CodeSequence},
		{"lower number", put(key, 4, "1:a", ""), krpc.CodeSequence},
		{"higher number", put(key, 6, "1:b", ""), 0},
		{"wrong cas", with(put(key, 7, "1:c", ""), 5), krpc.CodeCAS},
		{"right cas", with(put(key, 7, "1:c", ""), 6), 0},
		{"other salt", put(key, 1, "1:z", "salt"), 0},
		{"bad signature", forged, krpc.CodeSignature},
		{"negative number", put(other, -1, "1:a", ""), krpc.CodeProtocol},
		{"salt too long", put(key, 1, "1:z", strings.Repeat("s", 65)), krpc.CodeSaltSize},
		{"salt just right", put(key, 1, "1:z", strings.Repeat("s", 64)), 0},
		{"value just right", immutable(big), 0},
		{"value too big", immutable("997:" + strings.Repeat("x", 997)), krpc.CodeValueSize},
		{"unsorted dictionary", immutable("d1:bi1e1:ai1ee"), krpc.CodeProtocol},
		{"no bencode", immutable("x"), krpc.CodeProtocol},
		{"a list", immutable("li1ei2ee"), 0},
		{"the list again", immutable("li1ei2ee"), 0},
	} {
		if got := s.Put(&c.body, global(i), start); got != c.want {
			t.Errorf("%s: code %d, want %d", c.name, got, c.want)
		}
	}
	if i := s.Get(MutableTarget(key.Public().(ed25519.PublicKey), nil), start); i == nil || string(i.V) != "1:c" || i.Seq != 7 {
		t.Errorf("at the end there is %+v", i)
	}
	if i := s.Get(ImmutableTarget([]byte("li1ei2ee")), start); i == nil || i.Mutable() {
		t.Errorf("the immutable one is %+v", i)
	}
}

func TestItemsExpireUnlessPutAgain(t *testing.T) {
	t.Parallel()
	s := NewItems(ItemsConfig{}, krpc.ID{})
	var a, b krpc.Body
	a.SetV([]byte("1:a"))
	b.SetV([]byte("1:b"))
	s.Put(&a, global(1), start)
	s.Put(&b, global(1), start)
	s.Put(&b, global(2), start.Add(time.Hour))
	at := start.Add(2*time.Hour + time.Second)
	if s.Get(ImmutableTarget(a.V), at) != nil || s.Get(ImmutableTarget(b.V), at) == nil {
		t.Error("what was put again must stay, the other must go")
	}
	if s.Expire(at); len(s.items) != 1 || s.bytes != s.Get(ImmutableTarget(b.V), at).size() {
		t.Errorf("%d items, %d bytes", len(s.items), s.bytes)
	}
	s.Expire(start.Add(9 * time.Hour))
	if n, size := s.Len(); n != 0 || size != 0 {
		t.Errorf("%d items, %d bytes", n, size)
	}
}

func TestItemsAreCapped(t *testing.T) {
	t.Parallel()
	s := NewItems(ItemsConfig{}, krpc.ID{})
	popular := krpc.Body{}
	popular.SetV([]byte("7:popular"))
	for n := range 20 {
		s.Put(&popular, global(n*31), start)
	}
	for n := range 3000 {
		var b krpc.Body
		b.SetV(fmt.Appendf(nil, "900:%0900d", n))
		s.Put(&b, global(n), start)
		if n, size := s.Len(); n > 700 || size > 512<<10 {
			t.Fatalf("%d items, %d bytes", n, size)
		}
	}
	if n, _ := s.Len(); n < 400 {
		t.Errorf("only %d items are held", n)
	}
	if s.Get(ImmutableTarget(popular.V), start) == nil {
		t.Error("what many have put went first")
	}
	// One address cannot take all of it.
	for n := range 3000 {
		var b krpc.Body
		b.SetV(fmt.Appendf(nil, "9:one%06d", n))
		s.Put(&b, global(17777), start)
	}
	held := 0
	for _, i := range s.items {
		if i.from == global(17777) {
			held++
		}
	}
	if held == 0 || held > 700/16+8 {
		t.Errorf("one address holds %d items", held)
	}
}

func TestTokens(t *testing.T) {
	t.Parallel()
	rng := newRand()
	tokens := NewTokens(start, rng)
	a, b := global(1), netip.MustParseAddr("2001:db8::1")
	token := tokens.Append(nil, a)
	if len(token) != TokenSize || !tokens.Check(token, a) || tokens.Check(token, b) || tokens.Check(token[:7], a) || tokens.Check(nil, a) {
		t.Fatal("a token is not told from others")
	}
	if !tokens.Check(token, netip.AddrFrom16(a.As16())) {
		t.Error("an address is another one in its IPv6 coat")
	}
	for m := 1; m <= 15; m++ {
		now := start.Add(time.Duration(m) * time.Minute)
		tokens.Rotate(now, rng)
		tokens.Rotate(now, rng)
		if got, want := tokens.Check(token, a), m < 15; got != want {
			t.Errorf("after %d minutes accepted is %v", m, got)
		}
	}
	token = tokens.Append(nil, b)
	tokens.Rotate(start.Add(100*time.Hour), rng)
	if tokens.Check(token, b) {
		t.Error("accepted after 100 hours")
	}
}

func TestQueriesAreLimited(t *testing.T) {
	t.Parallel()
	l := NewLimits(LimitsConfig{}, start, newRand())
	served := func(ip string, n int, at time.Time) (ok int) {
		for range n {
			if l.Query(netip.AddrPortFrom(netip.MustParseAddr(ip), 1), at) == Serve {
				ok++
			}
		}
		return ok
	}
	if got := served("81.2.3.4", 80, start); got != 50 {
		t.Errorf("at once %d queries are served, want 50", got)
	}
	if got := served("81.2.3.5", 10, start); got != 10 {
		t.Errorf("another address is served %d of 10", got)
	}
	if got := served("81.2.3.4", 30, start.Add(2*time.Second)); got != 10 {
		t.Errorf("two seconds later it is served %d of 30, want 10", got)
	}
	for s := range 300 { // what is above the rate is dropped, for as long as it lasts
		at := start.Add(3*time.Second + time.Duration(s)*time.Second)
		if got := served("81.2.3.4", 45, at); got != 5 {
			t.Fatalf("45 a second: in second %d it is served %d, want 5", s, got)
		}
	}
	if got := served("81.2.3.6", 600, start); got != 50 {
		t.Errorf("of 600 at once %d are served, want 50", got)
	}
	if got := served("81.2.3.6", 10, start.Add(4*time.Minute)); got != 0 {
		t.Errorf("in its silence it is served %d", got)
	}
	if got := served("81.2.3.6", 10, start.Add(6*time.Minute)); got != 10 {
		t.Errorf("after its silence it is served %d of 10", got)
	}
	for s := range 100 { // 5 a second go on for ever
		if got := served("81.9.9.9", 5, start.Add(time.Duration(s)*time.Second)); got != 5 {
			t.Fatalf("5 a second: in second %d only %d are served", s, got)
		}
	}
	if got := served("2001:db8::1", 30, start) + served("2001:db8::2", 30, start); got != 50 {
		t.Errorf("two addresses of a /64 are served %d together, want 50", got)
	}
	if got := served("127.0.0.1", 1000, start); got != 1000 {
		t.Errorf("a local address is served %d of 1000", got)
	}
	for n := range 20 { // machines of one local network
		if got := served(fmt.Sprintf("fd00::%x", n), 4000, start); got != 4000 {
			t.Errorf("machine %d of a private IPv6 network is served %d of 4000", n, got)
		}
	}
}

// TestMachinesBesideOurs: each has a limit of its own in the /64 that it shares
// with us.
func TestMachinesBesideOurs(t *testing.T) {
	t.Parallel()
	ours := netip.MustParsePrefix("2a01:1:2:3::/64")
	l := NewLimits(LimitsConfig{Alone: func(ip netip.Addr, now time.Time) bool { return now == start && ours.Contains(ip) }}, start, newRand())
	served := func(network string) (ok int) {
		for n := range 20 {
			from := netip.AddrPortFrom(netip.MustParseAddr(fmt.Sprintf("%s%x", network, n)), 6881)
			for range 60 {
				if l.Query(from, start) == Serve {
					ok++
				}
			}
		}
		return ok
	}
	if got := served("2a01:1:2:3::"); got != 20*50 {
		t.Errorf("20 machines beside ours are served %d of %d", got, 20*50)
	}
	if got := served("2a01:1:2:4::"); got != 50 {
		t.Errorf("20 addresses of another /64 are served %d, want 50", got)
	}
}

func TestReplyBytesAreLimited(t *testing.T) {
	t.Parallel()
	l := NewLimits(LimitsConfig{Bytes: 1000}, start, newRand())
	sent, verdicts := 0, map[Verdict]int{}
	for n := range 1000 { // a thousand addresses within ten seconds
		from, now := netip.AddrPortFrom(global(n), 1), start.Add(time.Duration(n)*10*time.Millisecond)
		v := l.Query(from, now)
		if verdicts[v]++; v == Serve {
			l.Sent(from, 300, now)
			sent += 300
		}
	}
	if sent < 12500 || sent > 13500 {
		t.Errorf("in 10 s %d bytes are sent, want 1000 a second and 3 s of burst", sent)
	}
	if verdicts[NoBudget] == 0 || verdicts[TooFast] != 0 {
		t.Errorf("verdicts %v", verdicts)
	}
	if l.Query(netip.MustParseAddrPort("10.0.0.1:5"), start.Add(10*time.Second)) != Serve {
		t.Error("the local network has to wait for the budget of the others")
	}
}

func BenchmarkToken(b *testing.B) {
	tokens := NewTokens(start, newRand())
	var buf [TokenSize]byte
	b.ReportAllocs()
	for b.Loop() {
		tokens.Append(buf[:0], global(1))
	}
}

func BenchmarkQueryLimit(b *testing.B) {
	l := NewLimits(LimitsConfig{}, start, newRand())
	b.ReportAllocs()
	for n := 0; b.Loop(); n++ {
		l.Query(netip.AddrPortFrom(global(n%3000), 1), start)
	}
}
