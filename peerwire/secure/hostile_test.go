package secure

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"btd/metainfo"
)

// TestProberCannotTell says the same to a server without secrets, one with
// one, and one with many.
func TestProberCannotTell(t *testing.T) {
	t.Parallel()
	secret := newSecret(t)
	many := []metainfo.Secret{secret}
	for range 40 {
		many = append(many, newSecret(t))
	}
	a, b := pair(t)
	rec := &recorder{Conn: a}
	done := newServer(t, secret).accept(b)
	if _, err := connect(rec, secret); err != nil {
		t.Fatal(err)
	}
	<-done
	recorded := rec.writes()
	for name, words := range map[string][][]byte{
		"a member's hello again":      recorded[:1],
		"all a member said again":     recorded,
		"a hello and then nonsense":   {recorded[0], bytes.Repeat([]byte{0x17, 3, 3, 0, 5, 1}, 9)},
		"nonsense":                    {append([]byte{FirstByte}, bytes.Repeat([]byte{1, 2, 3}, 30)...)},
		"a cut hello":                 {recorded[0][:200]},
		"one byte":                    {{FirstByte}},
		"a hello of the wrong length": {append(bytes.Clone(recorded[0][:3]), 0xff, 0xff, 1)},
	} {
		t.Run(name, func(t *testing.T) {
			none := probe(t, newServer(t), words)
			for _, secrets := range [][]metainfo.Secret{{secret}, many} {
				got := probe(t, newServer(t, secrets...), words)
				if got.opened || got != none {
					t.Errorf("with %d secrets the prober gets %+v, with none %+v", len(secrets), got, none)
				}
			}
		})
	}
}

// TestProofIsOneOfChannel sends what a member without the secret may send
// once TLS is up.
func TestProofIsOneOfChannel(t *testing.T) {
	t.Parallel()
	secret := newSecret(t)
	k, _ := newKeys(secret)
	for name, say := range map[string]func(exporter []byte) []byte{
		"nothing":            func([]byte) []byte { return nil },
		"half a proof":       func(e []byte) []byte { p := prove(&k.client, e); return p[:16] },
		"zeros":              func([]byte) []byte { return make([]byte, proofLen) },
		"of another channel": func([]byte) []byte { p := prove(&k.client, make([]byte, 32)); return p[:] },
		"the server's":       func(e []byte) []byte { p := prove(&k.server, e); return p[:] },
		"the exporter":       func(e []byte) []byte { return e },
		"the secret":         func([]byte) []byte { return secret[:] },
		"of no secret":       func(e []byte) []byte { p := prove(new([32]byte), e); return p[:] },
		"one bit off":        func(e []byte) []byte { p := prove(&k.client, e); p[31] ^= 1; return p[:] },
	} {
		t.Run(name, func(t *testing.T) {
			a, b := pair(t)
			done := newServer(t, secret).accept(b)
			cfg := baseConfig()
			cfg.InsecureSkipVerify = true
			c := tls.Client(a, cfg)
			if err := c.Handshake(); err != nil {
				t.Fatal(err)
			}
			exporter, err := exporterOf(c)
			if err != nil {
				t.Fatal(err)
			}
			c.Write(say(exporter))
			a.(*net.TCPConn).CloseWrite()
			got, err := io.ReadAll(c)
			if len(got) > 0 {
				t.Errorf("the server answers %x", got)
			}
			if s := <-done; !errors.Is(s.err, ErrProof) || s.conn != nil || !s.secret.IsZero() {
				t.Errorf("the server has %+v (%v)", s, err)
			}
		})
	}
}

// TestSlowLoris sends a byte now and then: the deadline of the connection ends
// that wherever it is.
func TestSlowLoris(t *testing.T) {
	t.Parallel()
	secret := newSecret(t)
	a, b := pair(t)
	rec := &recorder{Conn: a}
	done := newServer(t, secret).accept(b)
	if _, err := connect(rec, secret); err != nil {
		t.Fatal(err)
	}
	<-done
	hello := rec.writes()[0]
	for _, size := range []int{1, 5, 300, len(hello)} {
		a, b := pair(t)
		b.SetDeadline(time.Now().Add(300 * time.Millisecond))
		done := newServer(t, secret).accept(b)
		a.Write(hello[:size])
		if got := <-done; !errors.Is(got.err, os.ErrDeadlineExceeded) {
			t.Errorf("after %d bytes: %v", size, got.err)
		}
	}
}

// TestStrangersMayNotSendMuch has either side go on for ever before a proof.
func TestStrangersMayNotSendMuch(t *testing.T) {
	t.Parallel()
	flood := func(c net.Conn) int {
		// A handshake message of 60 KiB in records of 1 KiB.
		first := append([]byte{FirstByte, 3, 3, 4, 0, 1, 0, 0xf0, 0}, make([]byte, 1020)...)
		next := append([]byte{FirstByte, 3, 3, 4, 0}, make([]byte, 1024)...)
		sent := 0
		for i := range 60 {
			b := next
			if i == 0 {
				b = first
			}
			n, err := c.Write(b)
			if sent += n; err != nil {
				break
			}
		}
		return sent
	}
	a, b := pair(t)
	done := newServer(t, newSecret(t)).accept(b)
	go flood(a)
	if got := <-done; !errors.Is(got.err, errLong) {
		t.Errorf("the server takes it: %v", got.err)
	}
	a, b = pair(t)
	go func() {
		io.ReadFull(b, make([]byte, 5))
		b.Write([]byte{FirstByte, 3, 3, 4, 0, 2, 0, 0xf0, 0})
		b.Write(make([]byte, 1020))
		flood(b)
	}()
	if _, err := connect(a, newSecret(t)); err == nil {
		t.Error("the client takes it")
	}
	below := &carrier{Conn: a, room: 3, lead: []byte("abcde")}
	got, err := io.ReadAll(below)
	if string(got) != "abc" || !errors.Is(err, errLong) {
		t.Errorf("of three bytes that are allowed %q are read, then %v", got, err)
	}
}

// TestCloseDoesNotWait closes a channel whose other end reads nothing, while a
// Write is stuck and while none is.
func TestCloseDoesNotWait(t *testing.T) {
	t.Parallel()
	client, _ := channel(t)
	stuck := make(chan error, 1)
	began := make(chan struct{})
	go func() {
		close(began)
		var err error
		for range 1 << 12 {
			if _, err = client.Write(make([]byte, 1<<20)); err != nil {
				break
			}
		}
		stuck <- err
	}()
	<-began
	if err := client.Close(); err != nil {
		t.Error(err)
	}
	select {
	case err := <-stuck:
		if err == nil {
			t.Error("everything was written to nobody")
		}
	case <-time.After(within):
		t.Fatal("Close left a Write waiting")
	}
	if _, err := client.Read(make([]byte, 1)); err == nil {
		t.Error("it can be read from after Close")
	}
}

func TestKeysWearOut(t *testing.T) {
	t.Parallel()
	client, _ := channel(t)
	client.written = maxWritten + 1
	if _, err := client.Write([]byte("x")); !errors.Is(err, errSpent) {
		t.Errorf("got %v", err)
	}
}

func TestGuard(t *testing.T) {
	var g Guard
	now := time.Unix(1e9, 0)
	tries := func(addr string, n int) (ok int) {
		for range n {
			if g.Admit(netip.MustParseAddr(addr), now) {
				ok++
			}
		}
		return ok
	}
	if got := tries("192.0.2.1", 1000); got != guardBurst {
		t.Errorf("%d of 1,000 at once are admitted, want %d", got, guardBurst)
	}
	if got := tries("::ffff:192.0.2.1", 5); got != 0 {
		t.Errorf("in another form of the address %d more", got)
	}
	if got := tries("192.0.2.2", 1); got != 1 {
		t.Error("its neighbour is refused")
	}
	now = now.Add(10 * time.Second)
	if got := tries("192.0.2.1", 1000); got != 10*guardRate {
		t.Errorf("10 s later %d, want %d", got, int(10*guardRate))
	}
	if got := tries("2001:db8::1", 1000); got != guardBurst {
		t.Errorf("%d of 1,000 of one address of IPv6 are admitted, want %d", got, guardBurst)
	}
	if tries("2001:db8::2", guardBurst) != guardBurst {
		t.Error("its neighbour in the same network is refused")
	}
	all := 2 * guardBurst
	for i := range 100 {
		all += tries(fmt.Sprintf("2001:db8::1:%x", i), guardBurst)
	}
	if all != guardNet*guardBurst || tries("2001:db8:0:1::2", 1) != 1 {
		t.Errorf("%d of a whole /64 are admitted, want %d; or the next /64 is refused", all, guardNet*guardBurst)
	}
	if tries("fe80::a", 1000) != guardBurst || tries("fe80::b", 1) != 1 {
		t.Error("one host keeps its neighbours with link-local addresses out")
	}
	if tries("fe80::1%eth0", guardBurst) != guardBurst || tries("fe80::1%eth1", 1) != 0 {
		t.Error("the zone makes another host")
	}
	for range 1000 { // a member comes as often as it likes
		if tries("192.0.2.9", 1) != 1 {
			t.Fatal("a member is refused")
		}
		g.Proved(netip.MustParseAddr("192.0.2.9"))
	}
}

func TestGuardIsBounded(t *testing.T) {
	var g Guard
	now := time.Unix(1e9, 0)
	addr := func(i int) netip.Addr { return netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}) }
	admitted := 0
	for i := range 3 * guardMost {
		if g.Admit(addr(i), now) {
			admitted++
		}
		g.Admit(addr(i), now)
	}
	if len(g.seen) > guardMost+1 {
		t.Errorf("%d addresses are remembered", len(g.seen))
	}
	if admitted < guardMost || admitted > guardMost+guardBurst {
		t.Errorf("%d were admitted: those beyond %d share %d", admitted, guardMost, guardBurst)
	}
	now = now.Add(time.Hour)
	if !g.Admit(addr(1<<20), now) || len(g.seen) > 2 {
		t.Errorf("an hour later %d are remembered", len(g.seen))
	}
}

// FuzzAccept feeds a server what a stranger may send.
func FuzzAccept(f *testing.F) {
	srv := newServer(f, newSecret(f))
	a, b := pair(f)
	rec := &recorder{Conn: a}
	secret := newSecret(f)
	done := newServer(f, secret).accept(b)
	if _, err := connect(rec, secret); err != nil {
		f.Fatal(err)
	}
	<-done
	f.Add(rec.writes()[0])
	f.Add(bytes.Join(rec.writes(), nil))
	f.Add([]byte{FirstByte, 3, 1, 0, 0})
	f.Add([]byte("\x13BitTorrent protocol"))
	f.Fuzz(func(t *testing.T, in []byte) {
		c := &canned{in: bytes.NewReader(in)}
		if _, _, err := srv.Accept(c, nil); err == nil {
			t.Fatal("a stranger is a member")
		}
		if c.took > maxHandshake || c.out > 16<<10 {
			t.Fatalf("%d bytes were read, %d written", c.took, c.out)
		}
	})
}

// FuzzProof feeds a ring what may stand in place of a proof.
func FuzzProof(f *testing.F) {
	var r Ring
	s := newSecret(f)
	if err := r.Add(s); err != nil {
		f.Fatal(err)
	}
	k, _ := newKeys(s)
	exporter := bytes.Repeat([]byte{7}, 32)
	right := prove(&k.client, exporter)
	f.Add(right[:])
	f.Add(right[:31])
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, proof []byte) {
		if _, ok := r.find(proof, exporter); ok != bytes.Equal(proof, right[:]) {
			t.Fatalf("%x: %v", proof, ok)
		}
	})
}

// canned is a connection whose other end has said everything it will.
type canned struct {
	net.Conn
	in        *bytes.Reader
	took, out int
}

func (c *canned) Read(b []byte) (int, error) {
	n, err := c.in.Read(b)
	c.took += n
	return n, err
}
func (c *canned) Write(b []byte) (int, error)      { c.out += len(b); return len(b), nil }
func (c *canned) SetWriteDeadline(time.Time) error { return nil }
func (c *canned) SetDeadline(time.Time) error      { return nil }
func (c *canned) Close() error                     { return nil }
