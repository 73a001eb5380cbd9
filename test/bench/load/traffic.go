package main

import (
	"bufio"
	"context"
	"crypto/sha1"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"btd/api/client"
)

const pieceLength = 1 << 20

// traffic keeps a daemon busy in both directions with the reference peer: one
// torrent is downloaded from it again and again, and others, one after the
// other, are uploaded to it.
type traffic struct {
	o      *options
	d      *daemon
	dir    string
	path   string // of the content, for all
	pieces [][20]byte
	seeded string // id of the torrent that the daemon seeds

	quit context.CancelFunc
	done sync.WaitGroup
	mu   sync.Mutex
	err  error
	past int64 // bytes of downloads that are over
	now  int64 // bytes of the one under way
}

func startTraffic(ctx context.Context, o *options, d *daemon, dir string) (*traffic, error) {
	x := &traffic{o: o, d: d, dir: dir, path: filepath.Join(dir, "up.bin")}
	if err := x.content(); err != nil {
		return nil, err
	}
	t := x.torrent("up.bin")
	x.seeded = hex.EncodeToString(t.hash[:])
	if _, err := d.api.Add(ctx, client.AddRequest{Torrent: t.raw, Dir: dir}); err != nil {
		return nil, err
	}
	if err := d.seeding(ctx, bystanders+1, time.Minute); err != nil {
		return nil, err
	}
	ctx, x.quit = context.WithCancel(ctx)
	x.done.Go(func() { x.again(ctx, func(int) error { return x.upload(ctx, t) }) })
	x.done.Go(func() { x.again(ctx, func(i int) error { return x.download(ctx, i) }) })
	return x, nil
}

func (x *traffic) stop() {
	x.quit()
	x.done.Wait()
}

// again repeats a transfer until one fails or the end.
func (x *traffic) again(ctx context.Context, move func(i int) error) {
	for i := 0; ctx.Err() == nil; i++ {
		if err := move(i); err != nil && ctx.Err() == nil {
			x.mu.Lock()
			x.err = errors.Join(x.err, err)
			x.mu.Unlock()
			return
		}
	}
}

// downloaded is how many bytes have come so far. The session's own sum
// does not tell, since torrents come and go.
func (x *traffic) downloaded() int64 {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.past + x.now
}

func (x *traffic) failed() error {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.err
}

func (x *traffic) content() error {
	f, err := os.Create(x.path)
	if err != nil {
		return err
	}
	defer f.Close()
	b := make([]byte, pieceLength)
	for i := range x.o.mib {
		fill(b, 1<<40+uint64(i))
		x.pieces = append(x.pieces, sha1.Sum(b))
		if _, err := f.Write(b); err != nil {
			return err
		}
	}
	return nil
}

func (x *traffic) torrent(name string) *torrent {
	t := &torrent{name: name, size: x.o.mib * pieceLength, length: pieceLength, pieces: x.pieces}
	t.build("", nil)
	return t
}

// upload lets the reference leecher have everything once.
func (x *traffic) upload(ctx context.Context, t *torrent) error {
	p, err := x.refpeer(ctx, t, "leech", "-peer", x.d.addr, "-bind", "127.0.0.30")
	if err != nil {
		return err
	}
	defer p.stop()
	if _, err := io.WriteString(p.in, "go\n"); err != nil {
		return err
	}
	return p.wait(ctx, "done")
}

// download has the daemon fetch a torrent from the reference seed, and
// forget it with its data.
func (x *traffic) download(ctx context.Context, i int) error {
	t := x.torrent("down" + strconv.Itoa(i) + ".bin")
	ln, err := net.Listen("tcp", "127.0.0.31:0") // a free port
	if err != nil {
		return err
	}
	addr := ln.Addr().String()
	ln.Close()
	p, err := x.refpeer(ctx, t, "seed", "-file", x.path, "-listen", addr)
	if err != nil {
		return err
	}
	defer p.stop()
	id := hex.EncodeToString(t.hash[:])
	if _, err := x.d.api.Add(ctx, client.AddRequest{Torrent: t.raw, Dir: x.o.scratch, Peers: []string{addr}}); err != nil {
		return err
	}
	err = until(ctx, 2*time.Minute, 50*time.Millisecond, "the download is complete", func() (bool, error) {
		now, err := x.d.api.Torrent(ctx, id)
		if err == nil && now.State == client.StateError {
			err = errors.New(now.Error)
		}
		x.mu.Lock()
		defer x.mu.Unlock()
		x.now = now.Downloaded
		return now.State == client.StateSeeding, err
	})
	if err != nil {
		return err
	}
	x.mu.Lock()
	x.past, x.now = x.past+t.size, 0
	x.mu.Unlock()
	return x.d.api.Remove(ctx, id, true)
}

// rates measures what is moved for a while, in MiB/s, and the CPU that the
// daemon takes for it.
func (x *traffic) rates(ctx context.Context, span time.Duration, r result, key string) error {
	before, err := x.d.api.Stats(ctx)
	if err != nil {
		return err
	}
	used, err := usageOf(x.d.pid())
	if err != nil {
		return err
	}
	down := x.downloaded()
	if err := pause(ctx, span); err != nil {
		return err
	}
	down = x.downloaded() - down
	after, err := x.d.api.Stats(ctx)
	if err != nil {
		return err
	}
	now, err := usageOf(x.d.pid())
	if err != nil {
		return err
	}
	s := now.at.Sub(used.at).Seconds()
	r[key+"_up_mib_s"] = float64(after.Uploaded-before.Uploaded) / (1 << 20) / s
	r[key+"_down_mib_s"] = float64(down) / (1 << 20) / s
	r[key+"_cpu_pct"], _ = now.since(used)
	return nil
}

// refpeer is a process of the reference peer, which says on its standard
// output how far it is.
type refpeer struct {
	cmd  *exec.Cmd
	in   io.WriteCloser
	said chan string
}

func (x *traffic) refpeer(ctx context.Context, t *torrent, mode string, args ...string) (*refpeer, error) {
	args = append([]string{
		mode, "-ih", hex.EncodeToString(t.hash[:]), "-piece", strconv.FormatInt(t.length, 10),
		"-size", strconv.FormatInt(t.size, 10),
	}, args...)
	p := &refpeer{cmd: x.o.command(x.o.refpeer, args...), said: make(chan string, 8)}
	p.cmd.Stderr = os.Stderr
	var err error
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the reference peer: %w", err)
	}
	go func() {
		defer close(p.said)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			p.said <- lines.Text()
		}
	}()
	if err := p.wait(ctx, "ready"); err != nil {
		p.stop()
		return nil, err
	}
	return p, nil
}

// wait waits until the reference peer has said a word.
func (p *refpeer) wait(ctx context.Context, word string) error {
	limit := time.After(2 * time.Minute)
	for {
		select {
		case line, ok := <-p.said:
			if !ok {
				return fmt.Errorf("the reference peer ended before it was %s", word)
			}
			if line == word {
				return nil
			}
		case <-limit:
			return fmt.Errorf("the reference peer is not %s after two minutes", word)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (p *refpeer) stop() {
	p.cmd.Process.Kill()
	for range p.said { // to its end, so that nothing is read after Wait
	}
	p.cmd.Wait()
}
