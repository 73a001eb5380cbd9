package secure

import (
	"bytes"
	"crypto/rand"
	"io"
	"net"
	"os"
	"runtime"
	"sync"
	"testing"
	"time"
)

// readNow waits until something has arrived, and reads it without waiting.
func readNow(t *testing.T, c *Conn, b []byte) int {
	t.Helper()
	deadline := time.Now().Add(within)
	for {
		n, err := c.ReadNow(b)
		if err != nil {
			t.Fatal(err)
		}
		if n > 0 {
			return n
		}
		if time.Now().After(deadline) {
			t.Fatal("nothing arrives")
		}
		runtime.Gosched()
	}
}

func TestReadNow(t *testing.T) {
	t.Parallel()
	client, server := channel(t)
	b := make([]byte, 4)
	if n, err := server.ReadNow(b); n != 0 || err != nil {
		t.Fatalf("of nothing: %d, %v", n, err)
	}
	client.Write([]byte("abcdefghij"))
	if _, err := io.ReadFull(server, b); err != nil || string(b) != "abcd" {
		t.Fatalf("read %q, %v", b, err)
	}
	// The rest of the record is here for certain, on every system.
	if n, err := server.ReadNow(b); n != 4 || err != nil || string(b) != "efgh" {
		t.Fatalf("read %q of %d, %v", b, n, err)
	}
	if n, err := server.ReadNow(b); n != 2 || err != nil {
		t.Fatalf("read %d, %v", n, err)
	}
	if n, err := server.ReadNow(b); n != 0 || err != nil {
		t.Fatalf("of nothing again: %d, %v", n, err)
	}
	if server.carrier.in != nil || server.carrier.inBuf != nil {
		t.Error("a buffer is held while nothing is here")
	}
	if runtime.GOOS != "linux" {
		return
	}
	client.Write([]byte("xyz"))
	if n := readNow(t, server, b); n != 3 || string(b[:n]) != "xyz" {
		t.Errorf("read %q", b[:n])
	}
	client.Close()
	deadline := time.Now().Add(within)
	for {
		n, err := server.ReadNow(b)
		if n == 0 && err == io.EOF {
			break
		}
		if n != 0 || err != nil || time.Now().After(deadline) {
			t.Fatalf("after the end: %d, %v", n, err)
		}
		runtime.Gosched()
	}
	if _, err := server.Read(b); err != io.EOF {
		t.Errorf("and then: %v", err)
	}
}

// TestReadingBothWays mixes Read, ReadNow and passed deadlines while records
// of all sizes come, cut anywhere.
func TestReadingBothWays(t *testing.T) {
	t.Parallel()
	client, server := channel(t)
	data := make([]byte, 4<<20)
	rand.Read(data)
	go func() {
		for rest, size := data, 1; len(rest) > 0; size = size*3%70_001 + 1 {
			n := min(size, len(rest))
			if _, err := client.Write(rest[:n]); err != nil {
				t.Error(err)
				return
			}
			rest = rest[n:]
		}
	}()
	var got []byte
	buf := make([]byte, 300_000)
	for i := 0; len(got) < len(data); i++ {
		room := buf[:1+(i*7919)%len(buf)]
		n, err := server.ReadNow(room)
		if n == 0 && err == nil {
			if i%5 == 0 {
				server.SetReadDeadline(time.Now().Add(-time.Second))
				if _, err := server.Read(room); err == nil || !os.IsTimeout(err) {
					t.Fatalf("a passed deadline: %v", err)
				}
				server.SetReadDeadline(time.Now().Add(within))
			}
			n, err = server.Read(room)
		}
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, room[:n]...)
	}
	if !bytes.Equal(got, data) {
		t.Error("what arrives is not what was sent")
	}
}

// slow is a connection that notes what is written to it.
type slow struct {
	net.Conn
	writes [][]byte
	err    error
}

func (s *slow) Write(b []byte) (int, error) {
	if s.err != nil {
		return 0, s.err
	}
	s.writes = append(s.writes, bytes.Clone(b))
	return len(b), nil
}

func TestCorkGathersWrites(t *testing.T) {
	t.Parallel()
	s := &slow{}
	c := newCarrier(s, nil, new(sync.Pool))
	c.Write([]byte("a"))
	c.cork()
	var want []byte
	for i := range 20 {
		b := bytes.Repeat([]byte{byte(i)}, 16<<10)
		want = append(want, b...)
		if n, err := c.Write(b); n != len(b) || err != nil {
			t.Fatal(n, err)
		}
	}
	large := make([]byte, carried+1)
	want = append(want, large...)
	c.Write(large)
	c.Write([]byte("b"))
	if err := c.uncork(); err != nil {
		t.Fatal(err)
	}
	c.Write([]byte("c"))
	if got := bytes.Join(s.writes, nil); !bytes.Equal(got, append(append([]byte("a"), want...), "bc"...)) {
		t.Error("the order changed")
	}
	if len(s.writes) > 8 {
		t.Errorf("%d writes", len(s.writes))
	}
	if c.outBuf != nil {
		t.Error("a buffer is held")
	}
	s.err = io.ErrClosedPipe
	c.cork()
	c.Write([]byte("d"))
	if err := c.uncork(); err != io.ErrClosedPipe {
		t.Errorf("the failure of what was gathered: %v", err)
	}
}

// BenchmarkHandshake is what a connection costs both sides together.
func BenchmarkHandshake(b *testing.B) {
	secret := newSecret(b)
	srv := newServer(b, secret)
	for b.Loop() {
		x, y := pair(b)
		done := srv.accept(y)
		if _, err := connect(x, secret); err != nil {
			b.Fatal(err)
		}
		<-done
		x.Close()
		y.Close()
	}
}

// BenchmarkStranger is what one costs who proves nothing.
func BenchmarkStranger(b *testing.B) {
	x, y := pair(b)
	rec := &recorder{Conn: x}
	secret := newSecret(b)
	done := newServer(b, secret).accept(y)
	if _, err := connect(rec, secret); err != nil {
		b.Fatal(err)
	}
	<-done
	hello := rec.writes()[0]
	srv := newServer(b)
	for b.Loop() {
		if _, _, err := srv.Accept(&canned{in: bytes.NewReader(hello)}, nil); err == nil {
			b.Fatal("believed")
		}
	}
}

// BenchmarkFind is looking a proof up among 10,000 secrets.
func BenchmarkFind(b *testing.B) {
	var r Ring
	for range 10_000 {
		if err := r.Add(newSecret(b)); err != nil {
			b.Fatal(err)
		}
	}
	proof, exporter := make([]byte, proofLen), make([]byte, proofLen)
	for b.Loop() {
		if _, ok := r.find(proof, exporter); ok {
			b.Fatal("found")
		}
	}
}

// BenchmarkStream is bulk from one end to the other.
func BenchmarkStream(b *testing.B) {
	client, server := channel(b)
	client.SetDeadline(time.Time{})
	server.SetDeadline(time.Time{})
	buf := make([]byte, 64<<10)
	b.SetBytes(int64(len(buf)))
	done := make(chan struct{})
	go func() {
		defer close(done)
		io.Copy(io.Discard, server)
	}()
	for b.Loop() {
		if _, err := client.Write(buf); err != nil {
			b.Fatal(err)
		}
	}
	client.Close()
	<-done
}
