package addrbook

import (
	"net/netip"
	"slices"
	"testing"
	"time"
)

// outage has every dial fail for a while, and returns when it was over and how
// many dials there were.
func outage(t *testing.T, b *Book, why Reason, now time.Time, long time.Duration) (end time.Time, dials int) {
	t.Helper()
	end = now.Add(long)
	for range 100_000 {
		a, ok, wait := b.Next(now, none)
		if b.Len() <= 100 {
			b.invariants(t, now)
		}
		switch {
		case ok:
			dials++
			b.Failed(a, why, now)
		case wait == Never || now.Add(wait).After(end):
			return end, dials
		default:
			now = now.Add(wait)
		}
	}
	t.Fatal("there is no end of dialling")
	return end, dials
}

// TestAddressesThatNobodyNamesAgain are dialled until they answer.
func TestAddressesThatNobodyNamesAgain(t *testing.T) {
	for src, a := range map[string]netip.AddrPort{SourceUser: addr4(1), SourceMagnet: addr4(1), SourceResume: addr4(1), "tracker": lan4(1), "lsd": lan4(1), "": lan4(1)} {
		b := newBook(Config{})
		b.Add(a, src, start)
		now, dials := outage(t, b, Lost, start, 24*time.Hour)
		if got := wait(t, b, now); got > 10*time.Minute {
			t.Errorf("%v from %q: dialled again after %v", a, src, got)
		}
		if dials < 24*6 || dials > 24*10+6 {
			t.Errorf("%v from %q: dialled %d times in a day", a, src, dials)
		}
		b.Failed(a, Unwanted, now)
		b.invariants(t, now)
	}
}

// TestKnownAddressIsNamedByALink keeps it from then on.
func TestKnownAddressIsNamedByALink(t *testing.T) {
	b := newBook(Config{})
	for n := range 4 {
		b.Add(addr4(n), "tracker", start)
	}
	b.Add(addr4(0), SourceMagnet, start)
	for range 4 {
		if a := next(t, b, start); a == addr4(1) {
			b.Add(a, SourceMagnet, start) // while it is being dialled
		}
	}
	for n := range 4 {
		b.Failed(addr4(n), Lost, start)
	}
	now, _ := outage(t, b, Lost, start, time.Hour)
	b.Add(addr4(2), SourceMagnet, now) // given up by now
	outage(t, b, Lost, now, time.Hour)
	for n := range 4 {
		if got := b.entries[addr4(n)].state == dead; got != (n == 3) {
			t.Errorf("address %d: given up %v", n, got)
		}
	}
}

// TestNotAllCanBeKept has somebody name hosts that do not exist.
func TestNotAllCanBeKept(t *testing.T) {
	b := newBook(Config{})
	for n := range 1000 {
		b.Add(lan4(n), "tracker", start)
		b.Add(addr4(n), SourceMagnet, start)
	}
	now, _ := outage(t, b, Lost, start, time.Hour)
	b.invariants(t, now)
	alive := 0
	for _, e := range b.entries {
		if e.state != dead {
			alive++
		}
	}
	if alive != 2*250 {
		t.Errorf("%d addresses are kept, want a quarter of 2,000", alive)
	}
	// The dead make room, those of the link do not.
	for n := range 3000 {
		b.Add(addr4(1<<16+n), "pex", now)
	}
	b.invariants(t, now)
	if b.kept[keepGiven] != 250 || b.Len() != 2000 {
		t.Errorf("of those of the link %d are left", b.kept[keepGiven])
	}
}

// TestNamingADeadAddressOften is what hostile sources can make us do.
func TestNamingADeadAddressOften(t *testing.T) {
	for _, why := range []Reason{Lost, Ours} {
		b := newBook(Config{})
		b.Add(addr4(1), "pex", start)
		var dials []time.Time
		for second := range 12 * 3600 {
			now := start.Add(time.Duration(second) * time.Second)
			b.Add(addr4(1), "pex", now)
			if a, ok, _ := b.Next(now, none); ok {
				dials = append(dials, now)
				b.Failed(a, why, now)
			}
		}
		if len(dials) < 12*6 || len(dials) > 12*10+6 {
			t.Errorf("reason %d: dialled %d times in 12 hours", why, len(dials))
		}
		for i := 7; i < len(dials); i++ {
			if d := dials[i].Sub(dials[i-1]); d < 5*time.Minute || d > 11*time.Minute {
				t.Fatalf("reason %d: try %d comes %v after the one before", why, i, d)
			}
		}
	}
}

// TestAfterAnOutage says when the peers are dialled again.
func TestAfterAnOutage(t *testing.T) {
	// Ours: it was known that the network is down.
	b := newBook(Config{})
	for n := range 50 {
		b.Add(addr4(n), "tracker", start)
	}
	now, dials := outage(t, b, Ours, start, 2*time.Hour)
	if dials > 50*25 {
		t.Errorf("50 addresses were dialled %d times in two hours without a network", dials)
	}
	if got := wait(t, b, now); got > time.Minute {
		t.Errorf("the first of 50 is dialled after %v", got)
	}
	for range 50 {
		a, ok, wait := b.Next(now, none)
		if !ok {
			now = now.Add(wait)
			a = next(t, b, now)
		}
		b.Connected(a, now)
	}
	if d := now.Sub(start) - 2*time.Hour; d > 10*time.Minute {
		t.Errorf("the last is dialled after %v", d)
	}
	b.Disconnected(addr4(1), Ours, now)
	if got := wait(t, b, now); got > 20*time.Second {
		t.Errorf("after a connection it is dialled again in %v", got)
	}

	// It was not known, and those that are there are named again.
	b = newBook(Config{})
	b.Add(addr4(1), "tracker", start)
	now, dials = outage(t, b, Lost, start, 20*time.Minute)
	if dials != 6 || wait(t, b, now) != Never {
		t.Errorf("%d dials without a network, then a wait of %v", dials, wait(t, b, now))
	}
	b.Add(addr4(1), "lsd", now)
	next(t, b, now)
}

// TestReasonsOfOursAreNotForEver counts four hours or so.
func TestReasonsOfOursAreNotForEver(t *testing.T) {
	b := newBook(Config{})
	b.Add(addr4(1), "pex", start)
	b.Add(addr4(2), SourceMagnet, start)
	now, _ := outage(t, b, Ours, start, 6*time.Hour)
	if b.entries[addr4(1)].state != dead {
		t.Error("it is still dialled")
	}
	if got := wait(t, b, now); got > 10*time.Minute {
		t.Errorf("the address of the link is dialled in %v", got)
	}
}

// TestUnreachableAddressesComeLast has a network that has no way to many.
func TestUnreachableAddressesComeLast(t *testing.T) {
	b := newBook(Config{Max: 100})
	for n := range 100 {
		b.Add(addr4(n), "tracker", start)
		b.Failed(next(t, b, start), Ours, start)
	}
	for n := range 40 {
		if !b.Add(addr4(1000+n), "tracker", start) {
			t.Fatal("no room for a new address")
		}
	}
	later := start.Add(time.Minute)
	for range 40 {
		if a := next(t, b, later); b.entries[a].ours != 0 {
			t.Fatalf("%v is dialled before those that were not tried", a)
		}
	}
}

// TestBestOfFewKnowsThoseOfAPerson has all of them fail.
func TestBestOfFewKnowsThoseOfAPerson(t *testing.T) {
	b := newBook(Config{})
	b.Add(addr4(1), SourceUser, start)
	b.Add(addr4(2), "tracker", start)
	b.Add(addr4(3), "tracker", start)
	b.Add(addr4(4), SourceResume, start)
	for _, a := range []netip.AddrPort{addr4(1), addr4(2), addr4(4)} {
		b.Dialling(a)
		b.Failed(a, Lost, start)
	}
	if got := b.Best(50); !slices.Equal(got, []netip.AddrPort{addr4(3), addr4(1)}) {
		t.Errorf("best: %v", got)
	}
}

// TestWhoComesAndGoes connects himself, and never stays.
func TestWhoComesAndGoes(t *testing.T) {
	b := newBook(Config{})
	now := start
	for n := range 600 {
		b.Connected(addr4(1), now)
		now = now.Add(time.Second)
		b.Disconnected(addr4(1), Lost, now)
		if got := wait(t, b, now); n >= 5 && got != Never {
			t.Fatalf("after connection %d that did not last it would be dialled in %v", n, got)
		}
	}
}

// TestGoodConnectionsThatWeEnd: what went wrong before a connection says nothing
// once there was one, also where we have ended it.
func TestGoodConnectionsThatWeEnd(t *testing.T) {
	b := newBook(Config{})
	b.Add(addr4(1), SourceUser, start)
	now, _ := outage(t, b, Lost, start, time.Hour)
	a, ok, in := b.Next(now, none)
	if !ok {
		now = now.Add(in)
		a = next(t, b, now)
	}
	b.Connected(a, now)
	now = now.Add(time.Hour)
	b.Disconnected(a, Ours, now)
	if got := wait(t, b, now); got > 20*time.Second {
		t.Errorf("it is dialled again in %v", got)
	}
}
