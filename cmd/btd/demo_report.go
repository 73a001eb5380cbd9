package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"btd/session"

	"github.com/dustin/go-humanize"
	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
	"golang.org/x/term"
)

// received is what one downloader got, by the peer id it came from.
type received map[[20]byte]int64

// follow shows progress until every downloader is complete, and returns what
// each got from whom.
func (d *demo) follow(ctx context.Context) ([]received, error) {
	bars := d.bars()
	got := make([]received, len(d.all))
	for i := range got {
		got[i] = received{}
	}
	ticker := time.NewTicker(40 * time.Millisecond)
	defer ticker.Stop()
	for {
		done := 0
		for i, s := range d.all[1:] {
			t, err := s.Torrent(d.meta.Hash)
			if err == nil && t.State == session.StateError {
				err = errors.New(t.Error)
			}
			if err == nil {
				err = got[i+1].sample(s.Session, d)
			}
			if err != nil {
				return nil, fmt.Errorf("%s: %w", d.all[i+1].name, err)
			}
			bars.set(i, t.HaveWanted, t.State == session.StateSeeding)
			if t.State == session.StateSeeding {
				done++
			}
		}
		if done == len(d.all)-1 {
			bars.wait()
			return got, nil
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-ticker.C:
		}
	}
}

// sample notes how much came from each peer. Connections outlive the
// download by some seconds, so that the last sample is complete.
func (r received) sample(s *session.Session, d *demo) error {
	peers, err := s.Peers(d.meta.Hash)
	if err != nil {
		return err
	}
	for _, p := range peers {
		r[p.ID] = max(r[p.ID], p.Downloaded)
	}
	return nil
}

// fromOthers is the share of bytes that did not come from the seed.
func (r received) fromOthers(seed [20]byte) float64 {
	var all, others int64
	for from, n := range r {
		all += n
		if from != seed {
			others += n
		}
	}
	if all == 0 {
		return 0
	}
	return float64(others) / float64(all)
}

// report checks every byte and prints the summary.
func (d *demo) report(ctx context.Context, took time.Duration, got []received) error {
	var bad []error
	fmt.Fprintf(d.out, "%d downloads of %s in %.2f s: %s/s together\n", demoDownloaders,
		humanize.IBytes(uint64(d.meta.Total)), took.Seconds(),
		humanize.IBytes(uint64(float64(d.meta.Total)*demoDownloaders/took.Seconds())))
	seed := d.all[0].PeerID()
	for i := 1; i < len(d.all); i++ {
		share := got[i].fromOthers(seed)
		verdict := "every byte is right"
		if err := sameTree(d.dir(0), d.dir(i)); err != nil {
			verdict = "WRONG: " + err.Error()
			bad = append(bad, fmt.Errorf("%s: %w", d.all[i].name, err))
		}
		if share < demoMinShare {
			bad = append(bad, fmt.Errorf("%s got only %.0f %% from the other downloaders, want %.0f %%", d.all[i].name, share*100, demoMinShare*100))
		}
		fmt.Fprintf(d.out, "%s: %s, %3.0f %% from the other downloaders\n", d.all[i].name, verdict, share*100)
	}
	fmt.Fprintf(d.out, "the seed sent %.2f x the content\n", float64(d.sent(ctx, got))/float64(d.meta.Total))
	return errors.Join(bad...)
}

// sent is the payload that the seed has sent, in bytes. It counts a block a
// moment after the block has left, so this waits, a while at most, until what
// it counts explains what arrived: the content once or more often.
func (d *demo) sent(ctx context.Context, got []received) int64 {
	seed, least := d.all[0], int64(0)
	for _, r := range got {
		least += r[seed.PeerID()]
	}
	least = max(least, d.meta.Total)
	ctx, cancel := context.WithTimeout(ctx, demoSettle)
	defer cancel()
	for {
		n := seed.Stats().Uploaded
		if n >= least {
			return n
		}
		select {
		case <-ctx.Done():
			return n
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// sameTree compares all files below two directories byte by byte.
func sameTree(want, got string) error {
	files := map[string]bool{}
	err := fs.WalkDir(os.DirFS(want), ".", func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		files[path] = true
		return sameFile(filepath.Join(want, path), filepath.Join(got, path))
	})
	if err != nil {
		return err
	}
	return fs.WalkDir(os.DirFS(got), ".", func(path string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() && !files[path] {
			err = fmt.Errorf("%s does not belong there", path)
		}
		return err
	})
}

func sameFile(want, got string) error {
	a, err := os.Open(want)
	if err != nil {
		return err
	}
	defer a.Close()
	b, err := os.Open(got)
	if err != nil {
		return err
	}
	defer b.Close()
	x, y := make([]byte, 1<<20), make([]byte, 1<<20)
	for off := int64(0); ; {
		n, err := io.ReadFull(a, x)
		m, err2 := io.ReadFull(b, y)
		if n != m || string(x[:n]) != string(y[:m]) {
			return fmt.Errorf("%s differs from the original within 1 MiB after byte %d", got, off)
		}
		off += int64(n)
		switch {
		case err == nil && err2 == nil:
		case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
			return nil
		default:
			return errors.Join(err, err2)
		}
	}
}

// bars are the progress bars of the downloaders; on a pipe there are none.
type bars struct {
	p    *mpb.Progress
	bars []*mpb.Bar
}

func (d *demo) bars() *bars {
	f, ok := d.screen.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return &bars{}
	}
	b := &bars{p: mpb.New(mpb.WithOutput(d.screen), mpb.WithWidth(50))}
	for _, s := range d.all[1:] {
		b.bars = append(b.bars, b.p.AddBar(d.meta.Total,
			mpb.PrependDecorators(decor.Name(s.name+" ")),
			mpb.AppendDecorators(decor.Percentage())))
	}
	return b
}

func (b *bars) set(i int, n int64, done bool) {
	if b.p == nil {
		return
	}
	b.bars[i].SetCurrent(n)
	if done {
		b.bars[i].SetTotal(-1, true)
	}
}

func (b *bars) wait() {
	if b.p != nil {
		b.p.Wait()
	}
}
