package secure

import (
	"bytes"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"btd/metainfo"
)

// within is how long anything may take that is waited for.
const within = 2 * time.Minute

func newSecret(t testing.TB) metainfo.Secret {
	t.Helper()
	s, err := metainfo.NewSecret(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func newServer(t testing.TB, secrets ...metainfo.Secret) *Endpoint {
	t.Helper()
	s, err := NewEndpoint()
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range secrets {
		if err := s.Ring.Add(x); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// connect is the client's side.
func connect(raw net.Conn, s metainfo.Secret) (*Conn, error) { return new(Endpoint).Connect(raw, s) }

// pair is a TCP connection with both its ends.
func pair(t testing.TB) (client, server net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if client, err = net.Dial("tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if server, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	for _, c := range []net.Conn{client, server} {
		c.SetDeadline(time.Now().Add(within))
		t.Cleanup(func() { c.Close() })
	}
	return client, server
}

type accepted struct {
	conn   *Conn
	secret metainfo.Secret
	err    error
}

// accept runs the server's side as a daemon does: it closes after an error.
func (s *Endpoint) accept(raw net.Conn) <-chan accepted {
	done := make(chan accepted, 1)
	go func() {
		var lead [1]byte
		if _, err := io.ReadFull(raw, lead[:]); err != nil {
			raw.Close()
			done <- accepted{err: err}
			return
		}
		c, secret, err := s.Accept(raw, lead[:])
		if err != nil {
			raw.Close()
		}
		done <- accepted{c, secret, err}
	}()
	return done
}

// channel is a pair of ends that have proved the secret.
func channel(t testing.TB) (client, server *Conn) {
	t.Helper()
	secret := newSecret(t)
	a, b := pair(t)
	done := newServer(t, newSecret(t), secret, newSecret(t)).accept(b)
	client, err := connect(a, secret)
	got := <-done
	if err != nil || got.err != nil || got.secret != secret {
		t.Fatalf("client: %v; server: %v, the right secret %v", err, got.err, got.secret == secret)
	}
	return client, got.conn
}

func TestMembersTalk(t *testing.T) {
	t.Parallel()
	client, server := channel(t)
	data := make([]byte, 3<<20)
	rand.Read(data)
	for _, way := range []struct{ from, to *Conn }{{client, server}, {server, client}} {
		go way.from.Write(data)
		got := make([]byte, len(data))
		if _, err := io.ReadFull(way.to, got); err != nil || !bytes.Equal(got, data) {
			t.Fatalf("what arrives is not what was sent: %v", err)
		}
	}
	client.Close()
	if n, err := server.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		t.Errorf("after the end: %d bytes, %v", n, err)
	}
}

func TestStrangersAreRefused(t *testing.T) {
	t.Parallel()
	for _, n := range []int{0, 1, 15, 16, 17} {
		var secrets []metainfo.Secret
		for range n {
			secrets = append(secrets, newSecret(t))
		}
		a, b := pair(t)
		done := newServer(t, secrets...).accept(b)
		if _, err := connect(a, newSecret(t)); !errors.Is(err, ErrProof) {
			t.Errorf("%d secrets: the client hears %v", n, err)
		}
		if got := <-done; !errors.Is(got.err, ErrProof) || !got.secret.IsZero() || got.conn != nil {
			t.Errorf("%d secrets: the server has %+v", n, got)
		}
		for i, s := range secrets {
			a, b := pair(t)
			srv := newServer(t, secrets...)
			done := srv.accept(b)
			if _, err := connect(a, s); err != nil {
				t.Errorf("%d secrets, number %d: %v", n, i, err)
			}
			if got := <-done; got.err != nil || got.secret != s {
				t.Errorf("%d secrets, number %d: the server has %v", n, i, got.err)
			}
		}
	}
}

func TestImpostorIsRefused(t *testing.T) {
	t.Parallel()
	secret := newSecret(t)
	for name, reply := range map[string]func(*tls.Conn, []byte){
		"silence":   func(*tls.Conn, []byte) {},
		"nonsense":  func(c *tls.Conn, _ []byte) { c.Write(make([]byte, proofLen)) },
		"reflected": func(c *tls.Conn, proof []byte) { c.Write(proof) },
		"short":     func(c *tls.Conn, _ []byte) { c.Write(make([]byte, proofLen-1)) },
		"other secret": func(c *tls.Conn, _ []byte) {
			k, _ := newKeys(newSecret(t))
			exporter, _ := exporterOf(c)
			p := prove(&k.server, exporter)
			c.Write(p[:])
		},
		"other channel": func(c *tls.Conn, _ []byte) {
			k, _ := newKeys(secret)
			p := prove(&k.server, make([]byte, proofLen))
			c.Write(p[:])
		},
	} {
		t.Run(name, func(t *testing.T) {
			a, b := pair(t)
			over := make(chan struct{})
			go func() {
				defer close(over)
				defer b.Close()
				c := tls.Server(b, newServer(t).tls)
				proof := make([]byte, proofLen)
				if _, err := io.ReadFull(c, proof); err != nil {
					t.Errorf("the proof does not come: %v", err)
					return
				}
				reply(c, proof)
			}()
			if c, err := connect(a, secret); !errors.Is(err, ErrProof) || c != nil {
				t.Errorf("the client believes it: %v", err)
			}
			<-over
		})
	}
}

// TestManInTheMiddle has somebody without the secret make a TLS connection to
// each side and pass on, both ways, all that is said inside.
func TestManInTheMiddle(t *testing.T) {
	t.Parallel()
	secret := newSecret(t)
	a, middleA := pair(t)
	middleB, b := pair(t)
	done := newServer(t, secret).accept(b)
	passed := make(chan int64, 2)
	go func() {
		toClient := tls.Server(middleA, newServer(t).tls)
		cfg := baseConfig()
		cfg.InsecureSkipVerify = true
		toServer := tls.Client(middleB, cfg)
		go func() { n, _ := io.Copy(toClient, toServer); middleA.Close(); passed <- n }()
		n, _ := io.Copy(toServer, toClient)
		middleB.Close()
		passed <- n
	}()
	if _, err := connect(a, secret); !errors.Is(err, ErrProof) {
		t.Errorf("the client hears %v", err)
	}
	if got := <-done; !errors.Is(got.err, ErrProof) {
		t.Errorf("the server has %v", got.err)
	}
	a.Close()
	if n := <-passed + <-passed; n != proofLen {
		t.Errorf("%d bytes went by, want the client's proof and nothing else", n)
	}
}

// TestReplay records what a member sends and sends it again, to the same
// server and to another of the swarm.
func TestReplay(t *testing.T) {
	t.Parallel()
	secret := newSecret(t)
	srv := newServer(t, secret)
	a, b := pair(t)
	rec := &recorder{Conn: a}
	done := srv.accept(b)
	c, err := connect(rec, secret)
	if got := <-done; err != nil || got.err != nil {
		t.Fatal(err, got.err)
	}
	c.Write([]byte("what comes after"))
	for name, srv := range map[string]*Endpoint{"same": srv, "other member": newServer(t, secret), "stranger": newServer(t)} {
		got, want := probe(t, srv, rec.writes()), probe(t, newServer(t), rec.writes())
		if got.opened || got != want {
			t.Errorf("%s: the replayed connection gets %+v, of a server without secrets %+v", name, got, want)
		}
	}
}

// answer is what a prober gets.
type answer struct {
	bytes  int // in all
	err    string
	opened bool
}

// probe says words to a server, those after the first once it has answered,
// and then nothing more.
func probe(t *testing.T, srv *Endpoint, words [][]byte) answer {
	t.Helper()
	a, b := pair(t)
	done := srv.accept(b)
	n := 0
	for i, w := range words {
		if _, err := a.Write(w); err != nil {
			break
		}
		if i == 0 && len(words) > 1 {
			n, _ = a.Read(make([]byte, 16<<10))
		}
	}
	a.(*net.TCPConn).CloseWrite()
	got := <-done
	b.Close()
	rest, _ := io.Copy(io.Discard, a)
	return answer{n + int(rest), got.err.Error(), got.conn != nil}
}

// recorder keeps what is written, call by call, and what is read.
type recorder struct {
	net.Conn
	mu   sync.Mutex
	sent [][]byte
	got  []byte
}

func (r *recorder) Write(b []byte) (int, error) {
	r.mu.Lock()
	r.sent = append(r.sent, bytes.Clone(b))
	r.mu.Unlock()
	return r.Conn.Write(b)
}

func (r *recorder) Read(b []byte) (int, error) {
	n, err := r.Conn.Read(b)
	r.mu.Lock()
	r.got = append(r.got, b[:n]...)
	r.mu.Unlock()
	return n, err
}

func (r *recorder) writes() [][]byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([][]byte{}, r.sent...)
}

func TestWireShowsNothing(t *testing.T) {
	t.Parallel()
	secret := newSecret(t)
	a, b := pair(t)
	rec := &recorder{Conn: a}
	done := newServer(t, secret).accept(b)
	c, err := connect(rec, secret)
	got := <-done
	if err != nil || got.err != nil {
		t.Fatal(err, got.err)
	}
	payload := bytes.Repeat([]byte("payload that is not to be seen "), 1000)
	go c.Write(payload)
	if _, err := io.ReadFull(got.conn, make([]byte, len(payload))); err != nil {
		t.Fatal(err)
	}
	go got.conn.Write(payload)
	if _, err := io.ReadFull(c, make([]byte, len(payload))); err != nil {
		t.Fatal(err)
	}
	wire := append(bytes.Join(rec.writes(), nil), rec.got...)
	k, _ := newKeys(secret)
	for name, b := range map[string][]byte{
		"payload": payload[:24], "secret": secret[:], "text": []byte(secret.String()), "key": k.client[:], "key of the server": k.server[:],
	} {
		if bytes.Contains(wire, b) {
			t.Errorf("the wire shows the %s", name)
		}
	}
	if len(wire) < 2*len(payload) {
		t.Errorf("only %d bytes were recorded", len(wire))
	}
}

// TestConnectionsAreUnlinkable looks for anything that two connections of one
// swarm share and two of different swarms do not.
func TestConnectionsAreUnlinkable(t *testing.T) {
	t.Parallel()
	hello := func(s metainfo.Secret) []byte {
		a, b := pair(t)
		rec := &recorder{Conn: a}
		done := newServer(t, s).accept(b)
		if _, err := connect(rec, s); err != nil {
			t.Fatal(err)
		}
		<-done
		return rec.writes()[0]
	}
	s := newSecret(t)
	same := common(hello(s), hello(s))
	other := common(hello(newSecret(t)), hello(newSecret(t)))
	if same-other > 24 || other-same > 24 { // chance: 1,250 random bytes agree in five places
		t.Errorf("hellos of one swarm agree in %d bytes, of two in %d", same, other)
	}
}

func common(a, b []byte) (n int) {
	for i := range min(len(a), len(b)) {
		if a[i] == b[i] {
			n++
		}
	}
	return n
}

func TestSessionsAreNotResumed(t *testing.T) {
	t.Parallel()
	srv := newServer(t)
	cfg := baseConfig()
	cfg.InsecureSkipVerify = true
	cfg.ClientSessionCache = tls.NewLRUClientSessionCache(4)
	cfg.ServerName = "x"
	for range 2 {
		a, b := pair(t)
		done := srv.accept(b)
		c := tls.Client(a, cfg)
		if err := c.Handshake(); err != nil {
			t.Fatal(err)
		}
		if cs := c.ConnectionState(); cs.DidResume || cs.Version != tls.VersionTLS13 || cs.CurveID != tls.X25519MLKEM768 {
			t.Errorf("resumed %v, version %x, curve %v", cs.DidResume, cs.Version, cs.CurveID)
		}
		c.Write(make([]byte, proofLen))
		c.Read(make([]byte, 1))
		<-done
		if _, ok := cfg.ClientSessionCache.Get("x"); ok {
			t.Error("the server gave a ticket")
		}
	}
}

func TestOldTLSIsRefused(t *testing.T) {
	t.Parallel()
	a, b := pair(t)
	done := newServer(t).accept(b)
	c := tls.Client(a, &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12})
	if err := c.Handshake(); err == nil {
		t.Error("TLS 1.2 is spoken")
	}
	if got := <-done; got.err == nil || !strings.Contains(got.err.Error(), "TLS handshake") {
		t.Errorf("the server has %v", got.err)
	}
}

func TestRing(t *testing.T) {
	var r Ring
	s := newSecret(t)
	r.Remove(s) // nothing is there
	for range 2 {
		if err := r.Add(s); err != nil {
			t.Fatal(err)
		}
	}
	exporter := make([]byte, proofLen)
	k, _ := newKeys(s)
	proof := prove(&k.client, exporter)
	for _, want := range []bool{true, true, false, false} {
		if _, ok := r.find(proof[:], exporter); ok != want {
			t.Errorf("with %d secrets the proof is found: %v, want %v", r.Len(), ok, want)
		}
		r.Remove(s)
	}
	decoy := prove(new([32]byte), exporter)
	if _, ok := r.find(decoy[:], exporter); ok {
		t.Error("the key that is compared to fill up is as good as a secret")
	}
	if _, ok := r.find(nil, exporter); ok {
		t.Error("an empty proof is found")
	}
	server := prove(&k.server, exporter)
	_ = r.Add(s)
	if _, ok := r.find(server[:], exporter); ok {
		t.Error("the server's proof passes as a client's")
	}
}
