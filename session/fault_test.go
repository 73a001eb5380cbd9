package session

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"syscall"
	"testing"
	"time"

	"btd/session/addrbook"
)

// dialError is what net.Dialer makes of an error of the system.
func dialError(call string, err error) error {
	return &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError(call, err)}
}

func TestWhoseFaultADialIs(t *testing.T) {
	t.Parallel()
	far, near, six := netip.MustParseAddrPort("203.0.113.7:1"), netip.MustParseAddrPort("192.168.1.7:1"), netip.MustParseAddrPort("[2001:db8::7]:1")
	for _, c := range []struct {
		addr netip.AddrPort
		err  error
		want addrbook.Reason
	}{
		{far, dialError("connect", syscall.ENETUNREACH), addrbook.Ours},
		{near, dialError("connect", syscall.ENETUNREACH), addrbook.Ours},
		{six, dialError("connect", syscall.ENETUNREACH), addrbook.Ours},
		{six, dialError("socket", syscall.EAFNOSUPPORT), addrbook.Ours},
		{far, dialError("connect", syscall.ENETDOWN), addrbook.Ours},
		{far, dialError("bind", syscall.EADDRNOTAVAIL), addrbook.Ours},
		{far, dialError("socket", syscall.EMFILE), addrbook.Ours},
		{far, dialError("socket", syscall.ENFILE), addrbook.Ours},
		{far, dialError("connect", syscall.EPERM), addrbook.Ours},
		{far, dialError("connectex", syscall.Errno(10051)), addrbook.Ours},
		{far, dialError("connectex", syscall.Errno(10065)), addrbook.Ours},
		{near, dialError("connectex", syscall.Errno(10065)), addrbook.Lost},
		{far, dialError("connect", syscall.EHOSTUNREACH), addrbook.Ours},
		{six, dialError("connect", syscall.EHOSTUNREACH), addrbook.Ours},
		{near, dialError("connect", syscall.EHOSTUNREACH), addrbook.Lost},
		{far, dialError("connect", syscall.ECONNREFUSED), addrbook.Lost},
		{far, dialError("connect", syscall.ETIMEDOUT), addrbook.Lost},
		{far, dialError("read", syscall.ECONNRESET), addrbook.Lost},
		{far, fmt.Errorf("dialling: %w", os.ErrDeadlineExceeded), addrbook.Lost},
		{far, context.DeadlineExceeded, addrbook.Lost},
		{far, context.Canceled, addrbook.Ours},
		{far, errOtherTorrent, addrbook.Misbehave},
		{far, errors.New("something else"), addrbook.Lost},
	} {
		if got := (&undialed{c.addr, c.err}).reason(); got != c.want {
			t.Errorf("%v: %v: reason %d, want %d", c.addr, c.err, got, c.want)
		}
	}
}

// TestAddressesOutliveOurOutage dials while there is no network.
func TestAddressesOutliveOurOutage(t *testing.T) {
	t.Parallel()
	c := makeContent(t, 64<<10, map[string]int{"": 1 << 20})
	s := open(t, nil)
	add(t, s, c, AddOptions{})
	await(t, s, c, "a loop", func(v Torrent) bool { return v.State == StateDownloading })
	a := netip.MustParseAddrPort("203.0.113.7:1")
	for why, want := range map[error]bool{syscall.ENETUNREACH: true, syscall.ECONNREFUSED: false} {
		var wait time.Duration
		var ok bool
		inLoop(t, s, c, func(t *torrent) {
			for range 12 {
				t.book.Dialling(a)
				t.peers.dialling++
				(&undialed{a, dialError("connect", why)}).apply(t)
			}
			_, ok, wait = t.book.Next(t.now, netip.AddrPort{})
			t.book.Failed(a, addrbook.Unwanted, t.now) // it is not dialled in earnest
		})
		if again := wait != addrbook.Never; ok || again != want {
			t.Errorf("%v: dialled again %v (after %v), want %v", why, again, wait, want)
		}
	}
}
