package main

import (
	"context"
	"crypto/sha1"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"sync"
)

const (
	block   = 16 << 10
	tracked = "127.0.0.1" // the tracker's address
)

// torrent is a .torrent file in memory, and what it is about.
type torrent struct {
	name   string
	raw    []byte
	hash   [20]byte
	size   int64
	public bool       // announced in the DHT, too
	length int64      // of a piece
	pieces [][20]byte // the same hash may stand for many; see filled
}

// fill makes bytes out of a number: always the same, never like others.
func fill(b []byte, n uint64) {
	var seed [32]byte
	binary.LittleEndian.PutUint64(seed[:], n)
	rand.NewChaCha8(seed).Read(b)
}

// file is one file of a torrent with several.
type file struct {
	path []string
	size int64
}

// build makes the .torrent file; files is nil for a single one.
func (t *torrent) build(announce string, files []file) {
	info := []byte("d")
	if files == nil {
		info = fmt.Appendf(info, "6:lengthi%de", t.size)
	} else {
		info = append(info, "5:filesl"...)
		for _, f := range files {
			info = fmt.Appendf(info, "d6:lengthi%de4:pathl", f.size)
			for _, p := range f.path {
				info = appendString(info, p)
			}
			info = append(info, "ee"...)
		}
		info = append(info, 'e')
	}
	info = appendString(append(info, "4:name"...), t.name)
	info = fmt.Appendf(info, "12:piece lengthi%de6:pieces%d:", t.length, 20*len(t.pieces))
	for _, h := range t.pieces {
		info = append(info, h[:]...)
	}
	if !t.public {
		info = append(info, "7:privatei1e"...)
	}
	info = append(info, 'e')
	t.hash = sha1.Sum(info)
	t.raw = []byte("d")
	if announce != "" {
		t.raw = appendString(append(t.raw, "8:announce"...), announce)
	}
	t.raw = append(append(append(t.raw, "4:info"...), info...), 'e')
}

func appendString(b []byte, s string) []byte {
	b = strconv.AppendInt(b, int64(len(s)), 10)
	return append(append(b, ':'), s...)
}

// small makes torrent number i of one file of one block, and the file in dir.
func small(dir, announce string, i int, public bool) (*torrent, error) {
	var b [block]byte
	fill(b[:], uint64(i)+1)
	t := &torrent{name: fmt.Sprintf("t%06d.bin", i), size: block, public: public, length: block, pieces: [][20]byte{sha1.Sum(b[:])}}
	t.build(announce, nil)
	return t, os.WriteFile(filepath.Join(dir, t.name), b[:], 0o644)
}

// many makes n small torrents.
func many(ctx context.Context, dir, announce string, n int, public bool) ([]*torrent, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	out := make([]*torrent, n)
	return out, parallel(ctx, 4, n, func(_, i int) (err error) {
		out[i], err = small(dir, announce, i, public)
		return err
	})
}

// filled is a torrent whose pieces are all alike.
func filled(name, announce string, size int64, one []byte, files []file) *torrent {
	t := &torrent{name: name, size: size, length: int64(len(one))}
	h := sha1.Sum(one)
	for at := int64(0); at < size; at += t.length {
		if rest := size - at; rest < t.length {
			h = sha1.Sum(one[:rest])
		}
		t.pieces = append(t.pieces, h)
	}
	t.build(announce, files)
	return t
}

// parallel calls f for 0 to n-1 from some goroutines until one fails.
func parallel(ctx context.Context, workers, n int, f func(worker, i int) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	next := make(chan int)
	for w := range workers {
		wg.Go(func() {
			for i := range next {
				if err := f(w, i); err != nil {
					cancel(err)
					return
				}
			}
		})
	}
feed:
	for i := range n {
		select {
		case next <- i:
		case <-ctx.Done():
			break feed
		}
	}
	close(next)
	wg.Wait()
	return context.Cause(ctx)
}
