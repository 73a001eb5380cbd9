package main

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"btd/api/client"
)

// firstByteRow times how soon a download begins: from the request that adds
// the torrent to the first block on its way, the tracker knowing a seed.
func firstByteRow(ctx context.Context, o *options) (result, error) {
	r := result{"n": o.reps, "files": o.files}
	w, err := startWatch(o.interval)
	if err != nil {
		return r, err
	}
	defer w.close()
	s, err := startSeed()
	if err != nil {
		return r, err
	}
	defer s.close()
	w.peers = s.compact()
	w.begin()
	d, err := startDaemon(ctx, o)
	if err != nil {
		return r, err
	}
	defer d.stop()

	one := make([]byte, 1<<20)
	fill(one, 1)
	single := func(name string) *torrent { return filled(name, w.url, 64<<20, one, nil) }
	small := one[:4*block]
	tree := func(name string) *torrent {
		files := make([]file, o.files)
		for i := range files {
			files[i] = file{[]string{fmt.Sprintf("d%02d", i/100), fmt.Sprintf("f%05d.bin", i)}, block}
		}
		return filled(name, w.url, int64(o.files)*block, small, files)
	}
	for _, kind := range []struct {
		key   string
		make  func(name string) *torrent
		piece []byte
	}{{"single", single, one}, {"files", tree, small}} {
		var took spans
		for i := range o.reps {
			span, err := firstByte(ctx, d, s, kind.make(fmt.Sprintf("%s-%d", kind.key, i)), kind.piece)
			if err != nil {
				return r, fmt.Errorf("%s, number %d: %w", kind.key, i, err)
			}
			took = append(took, span)
		}
		r[kind.key+"_p50_ms"], r[kind.key+"_max_ms"] = took.ms(0.5), took.ms(1)
	}
	return r, nil
}

// firstByte adds one torrent, and removes it and its data.
func firstByte(ctx context.Context, d *daemon, s *seed, t *torrent, data []byte) (time.Duration, error) {
	first := s.reset(data, len(t.pieces))
	began := time.Now()
	if _, err := d.api.Add(ctx, client.AddRequest{Torrent: t.raw}); err != nil {
		return 0, err
	}
	var span time.Duration
	select {
	case at := <-first:
		span = at.Sub(began)
	case <-time.After(30 * time.Second):
		return 0, errors.New("no request within 30 s")
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	if err := d.api.Remove(ctx, hex.EncodeToString(t.hash[:]), true); err != nil {
		return 0, err
	}
	return span, pause(ctx, 300*time.Millisecond) // what follows a removal is not part of the next add
}
