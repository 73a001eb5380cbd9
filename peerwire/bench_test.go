package peerwire

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"testing"
	"time"

	"btd/piece"
)

// The other end of a loopback benchmark is a process of its own, so that
// CPU time can be told apart: this test binary with peerEnv set.
const peerEnv = "PEERWIRE_BENCH_PEER"

func TestMain(m *testing.M) {
	if what := os.Getenv(peerEnv); what != "" {
		benchPeer(what)
		return
	}
	os.Exit(m.Run())
}

// benchPeer connects and sends batches of blocks, or takes what comes.
func benchPeer(what string) {
	conn, err := net.Dial("tcp", os.Getenv(peerEnv+"_ADDR"))
	if err != nil {
		panic(err)
	}
	switch what {
	case "blocks":
		sendBlocks(conn, 16, false)
		return
	case "mixed":
		sendBlocks(conn, 16, true)
		return
	}
	buf := make([]byte, 256<<10)
	for {
		if _, err := conn.Read(buf); err != nil {
			return
		}
	}
}

// startPeer is a connection to a benchPeer.
func startPeer(b *testing.B, what string) *net.TCPConn {
	b.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	exe, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), peerEnv+"="+what, peerEnv+"_ADDR="+l.Addr().String())
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	l.(*net.TCPListener).SetDeadline(time.Now().Add(patience))
	conn, err := l.Accept()
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		conn.Close()
		cmd.Wait()
	})
	return conn.(*net.TCPConn)
}

// ring is a pool that gives the longest unused buffer, as a queue before the
// disk does: memory is as cold as it is in earnest.
type ring struct {
	c chan *piece.Buffer
}

func newRing(n int) *ring {
	r := &ring{make(chan *piece.Buffer, n)}
	for range n {
		r.c <- new(piece.Buffer)
	}
	return r
}

func (r *ring) alloc() *piece.Buffer { return <-r.c }
func (r *ring) put(b *piece.Buffer)  { r.c <- b }

// BenchmarkReceive reads blocks over loopback TCP that another process sends
// as fast as it can.
func BenchmarkReceive(b *testing.B) {
	for _, c := range []struct {
		name   string
		window int    // blocks read by one call, 0: by the connection's Read
		what   string // see benchPeer
	}{
		{"plain", 0, "blocks"},
		{"run4", 4, "blocks"},
		{"run16", 16, "blocks"},
		{"run32", 32, "blocks"},
		{"run64", 64, "blocks"},
		{"mixed", 32, "mixed"},
	} {
		b.Run(c.name, func(b *testing.B) {
			pool := newRing(1024)
			conn := startPeer(b, c.what)
			cfg := ReaderConfig{Alloc: pool.alloc, Free: pool.put, BufferSize: c.window * piece.BlockSize}
			r := NewReader(conn, cfg)
			if c.window == 0 {
				r = NewReader(onlyConn{conn}, cfg)
			}
			next := func() {
				var m Message
				if err := r.Next(&m); err != nil {
					b.Fatal(err)
				}
				if m.Buf != nil {
					pool.put(m.Buf)
				}
			}
			for range 1000 {
				next()
			}
			b.SetBytes(piece.BlockSize)
			b.ReportAllocs()
			stop := cpuPerGiB(b, piece.BlockSize)
			for b.Loop() {
				next()
			}
			stop()
		})
	}
}

// BenchmarkSend writes batches of blocks over loopback TCP to another process
// that throws them away.
func BenchmarkSend(b *testing.B) {
	data := make([]byte, 4<<20)
	for _, blocks := range []int{1, 4, 16, 64, 256} {
		b.Run(fmt.Sprint(blocks), func(b *testing.B) {
			w := NewWriter(startPeer(b, "discard"))
			deadline := time.Now().Add(time.Minute)
			b.SetBytes(int64(blocks * piece.BlockSize))
			b.ReportAllocs()
			stop := cpuPerGiB(b, blocks*piece.BlockSize)
			for i := 0; b.Loop(); i++ {
				for k := range blocks {
					w.Piece(uint32(i), 0, data[(i*blocks+k)%256*piece.BlockSize:][:piece.BlockSize])
				}
				if _, err := w.Flush(deadline); err != nil {
					b.Fatal(err)
				}
			}
			stop()
		})
	}
}

func BenchmarkDecodeBlock(b *testing.B) {
	msg := AppendPiece(nil, 1, 2, make([]byte, piece.BlockSize))
	b.SetBytes(piece.BlockSize)
	b.ReportAllocs()
	var m Message
	for b.Loop() {
		if _, err := Decode(msg, &m); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkReadBlock is a Reader without a socket.
func BenchmarkReadBlock(b *testing.B) {
	var p pool
	r := newTestReader(&stream{}, p.config(), true)
	head := AppendPiece(nil, 1, 2, make([]byte, piece.BlockSize))[:pieceHead]
	r.scatter = func(direct []byte, segs []segment) (int, error) {
		n := len(direct)
		for _, s := range segs {
			if len(s.b) == pieceHead {
				copy(s.b, head)
			} else if s.own == nil {
				return n, nil
			}
			n += len(s.b)
		}
		return n, nil
	}
	r.win = 16
	b.SetBytes(piece.BlockSize)
	b.ReportAllocs()
	var m Message
	for b.Loop() {
		if r.left == 0 && r.state == inHead && r.win < 16 {
			r.win = 16
		}
		if err := r.Next(&m); err != nil {
			b.Fatal(err)
		}
		if m.Buf != nil {
			p.put(m.Buf)
		}
	}
}

func BenchmarkEncodeBlock(b *testing.B) {
	data := make([]byte, piece.BlockSize)
	out := make([]byte, 0, 2*piece.BlockSize)
	b.SetBytes(piece.BlockSize)
	b.ReportAllocs()
	for b.Loop() {
		out = AppendPiece(out[:0], 1, 2, data)
	}
}

// BenchmarkWriteBlock is a Writer without a socket.
func BenchmarkWriteBlock(b *testing.B) {
	data := make([]byte, piece.BlockSize)
	w := NewWriter(nil)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		w.Piece(1, 2, data)
		if i%64 == 63 {
			w.account(int64(w.Pending()))
			w.reset()
		}
	}
}
