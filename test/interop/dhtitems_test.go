//go:build interop && linux

package interop

import (
	"context"
	"crypto/ed25519"
	"crypto/sha512"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"
	"time"

	"btd/test/netns"
)

// itemLab is a DHT of btd and two libtorrents and nobody else: what one of them
// puts is kept by both others.
type itemLab struct {
	*lab
	ctx  context.Context
	us   *btd
	a, b *libtorrent
}

func newItemLab(t *testing.T) *itemLab {
	t.Helper()
	needNetwork(t)
	need(t, "/usr/bin/python3")
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	l := &itemLab{lab: newWideLab(t), ctx: ctx}
	l.us = newBtd(l.Host("btd"))
	l.us.join()
	// In its first half a minute it waits 3 s for a family of addresses in which it knows nobody.
	l.us.more = []string{"--listen", peerAddr(l.us.host, false).String()}
	l.Must(l.us.start(ctx))
	for _, c := range []**libtorrent{&l.a, &l.b} {
		*c = newLibtorrent(l.Host("libtorrent")).(*libtorrent)
		(*c).join() // whom it is told here it takes for routers, which keep nothing
		l.Must((*c).start(ctx))
	}
	for _, x := range []struct{ c, other *libtorrent }{{l.a, l.b}, {l.b, l.a}} {
		// Who is not there yet is told of again: it would ask by itself only after a while.
		l.Must(netns.Poll(ctx, 500*time.Millisecond, "libtorrent knows both others", func() (bool, error) {
			for _, h := range []*netns.Host{l.us.host, x.other.host} {
				at := peerAddr(h, false)
				if err := x.c.op(ctx, map[string]any{"op": "node", "ip": at.Addr().String(), "port": at.Port()}, &struct{}{}); err != nil {
					return false, err
				}
			}
			s, err := x.c.dht(ctx)
			return s.Nodes >= 2, err
		}))
	}
	l.Must(netns.Poll(ctx, 50*time.Millisecond, "btd knows both others", func() (bool, error) {
		s, err := l.us.api.DHTStats(ctx)
		return err == nil && s.IPv4.Nodes >= 2, err
	}))
	return l
}

// libtorrentDHT is what libtorrent says of its node.
type libtorrentDHT struct {
	Nodes  int
	Events []libtorrentEvent
}

// libtorrentEvent is the end of a put or a get.
type libtorrentEvent struct {
	Kind   string // "put", "immutable" or "mutable"
	Stored int    // nodes
	Seq    int64
	Value  *string // nil if nothing was found
}

func (c *libtorrent) dht(ctx context.Context) (s libtorrentDHT, err error) {
	err = c.op(ctx, map[string]any{"op": "dht"}, &s)
	return s, err
}

// item has libtorrent put or get an item and waits for what comes of it.
func (c *libtorrent) item(ctx context.Context, request map[string]any, out any) (libtorrentEvent, error) {
	before, err := c.dht(ctx)
	if err != nil {
		return libtorrentEvent{}, err
	}
	if err := c.op(ctx, request, out); err != nil {
		return libtorrentEvent{}, err
	}
	var after libtorrentDHT
	err = netns.Poll(ctx, 20*time.Millisecond, fmt.Sprint("libtorrent ends ", request["op"]), func() (ok bool, err error) {
		after, err = c.dht(ctx)
		return len(after.Events) > len(before.Events), err
	})
	if err != nil {
		return libtorrentEvent{}, err
	}
	return after.Events[len(after.Events)-1], nil
}

// put stores at both other nodes or fails the test.
func (l *itemLab) put(c *libtorrent, request map[string]any, out any) libtorrentEvent {
	l.T.Helper()
	e, err := c.item(l.ctx, request, out)
	l.Must(err)
	if e.Kind != "put" || e.Stored < 2 { // it may store over IPv6 as well
		l.T.Errorf("libtorrent: %v: stored at %d nodes, want 2", request, e.Stored)
	}
	return e
}

// wants fails the test unless libtorrent finds the item.
func (l *itemLab) wants(c *libtorrent, request map[string]any, value string, seq int64) {
	l.T.Helper()
	e, err := c.item(l.ctx, request, &struct{}{})
	l.Must(err)
	if e.Value == nil || *e.Value != value || e.Seq != seq {
		l.T.Errorf("libtorrent: %v: %+v, want %q, version %d", request["op"], e, value, seq)
	}
}

// shows fails the test unless btctl prints want.
func (l *itemLab) shows(want string, args ...string) {
	l.T.Helper()
	got, err := l.us.ctl(l.ctx, args...)
	if err != nil || got != want {
		l.T.Errorf("btctl %s: %q, %v, want %q", strings.Join(args, " "), got, err, want)
	}
}

// TestItems has btd read the items (BEP 44) that libtorrent stores, and
// libtorrent those of btd: immutable ones, and mutable ones with a salt and their
// next versions.
func TestItems(t *testing.T) {
	t.Parallel()
	l := newItemLab(t)

	var made struct{ Target string }
	l.put(l.a, map[string]any{"op": "put_immutable", "value": "hello from libtorrent"}, &made)
	l.shows("hello from libtorrent", "dht", "get", made.Target)
	target, err := l.us.ctl(l.ctx, "dht", "put", "hello from btd")
	l.Must(err)
	l.wants(l.b, map[string]any{"op": "get_immutable", "target": target}, "hello from btd", 0)

	seed := make([]byte, ed25519.SeedSize)
	copy(seed, "the same in every run")
	private := ed25519.NewKeyFromSeed(seed)
	public := hex.EncodeToString(private.Public().(ed25519.PublicKey))
	keyFile, err := l.Hub.Write("key", hex.EncodeToString(seed)+"\n")
	l.Must(err)
	for _, salt := range []string{"", "news"} {
		ours := []string{"--key", keyFile, "--salt", salt}
		theirs := map[string]any{"op": "put_mutable", "private": hex.EncodeToString(expand(seed)), "public": public, "salt": salt}
		read := map[string]any{"op": "get_mutable", "public": public, "salt": salt}
		say := func(v string) map[string]any { theirs["value"] = v; return theirs }
		show := func(want string) { l.T.Helper(); l.shows(want, "dht", "get", "--key", public, "--salt", salt) }

		for i, text := range []string{"first edition", "second edition"} { // libtorrent makes the versions 1 and 2
			if e := l.put(l.a, say(text), &struct{}{}); e.Seq != int64(i+1) {
				t.Errorf("libtorrent: version %d, want %d", e.Seq, i+1)
			}
			show(text)
		}
		for i, text := range []string{"third edition", "fourth edition"} { // and btd the next
			_, err := l.us.ctl(l.ctx, append([]string{"dht", "put", text}, ours...)...)
			l.Must(err)
			l.wants(l.b, read, text, int64(i+3))
		}
		l.put(l.b, say("fifth edition"), &struct{}{})
		show("fifth edition")
		if _, err := l.us.ctl(l.ctx, append([]string{"dht", "put", "an old edition", "--seq", "4"}, ours...)...); err == nil {
			t.Error("btd stored version 4 after version 5")
		}
		l.wants(l.a, read, "fifth edition", 5)
	}
}

// expand makes of a seed the private key as libtorrent has it (RFC 8032,
// section 5.1.5).
func expand(seed []byte) []byte {
	h := sha512.Sum512(seed)
	h[0] &= 248
	h[31] = h[31]&127 | 64
	return h[:]
}
