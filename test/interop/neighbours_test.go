//go:build interop && linux

package interop

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"btd/test/netns"
)

// inLAN turns local discovery (BEP 14) on, which all programs have off else.
func inLAN(p program) program {
	switch p := p.(type) {
	case *btd:
		p.more = append(p.more, "--lsd")
	case *libtorrent:
		p.lsd = true
	case *transmission:
		p.lsd = true
	case *aria2:
		p.lsd = true
	}
	return p
}

// TestNeighbours has programs find each other by multicast: there is no
// tracker, and nobody is given an address.
func TestNeighbours(t *testing.T) {
	t.Parallel()
	needNetwork(t)
	for _, other := range kinds {
		if other.name == "rtorrent" || other.name == "qbittorrent" {
			continue // the one has no local discovery, the other is libtorrent once more
		}
		for _, p := range []struct {
			name        string
			seed, leech kind
		}{
			{"btd finds " + other.name, other, btdKind},
			{other.name + " finds btd", btdKind, other},
		} {
			t.Run(p.name, func(t *testing.T) {
				t.Parallel()
				need(t, other.programs...)
				ctx, cancel := context.WithTimeout(t.Context(), patience)
				defer cancel()
				l := newLab(t)
				tor := makeTorrent(t, l.Dir, "odd things", oddFiles, 64<<10, 1)
				on := func(k kind) program {
					h := l.Host(k.name)
					// Other programs leave it to the routes which interface is meant.
					l.Must(h.NS.Do(func() error { return netns.IP("route add default dev eth0") }))
					return inLAN(k.make(h))
				}
				s, d := on(p.seed), on(p.leech)
				dest := filepath.Join(l.Dir, "downloads")
				l.Must(os.MkdirAll(dest, 0o755))
				l.Must(s.start(ctx))
				l.Must(d.start(ctx))
				l.Must(s.seed(ctx, tor, tor.source))
				l.Must(d.leech(ctx, tor, dest))
				l.Must(waitDone(ctx, d, tor, p.leech.name+" downloads from "+p.seed.name))
				l.Must(d.stop(ctx))
				if err := tor.compare(dest, p.leech.noEmpty != ""); err != nil {
					t.Errorf("%s downloaded from %s: %v", p.leech.name, p.seed.name, err)
				}
				l.Must(s.stop(ctx))
			})
		}
	}
}
