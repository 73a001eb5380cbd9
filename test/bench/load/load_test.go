package main

import (
	"bytes"
	"crypto/sha1"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"btd/metainfo"
)

func TestTrackerSeesWhatIsWrong(t *testing.T) {
	t.Parallel()
	const interval = 30 * time.Minute
	for _, c := range []struct {
		name  string
		after time.Duration // from the first announce, as a part of its interval plus this
		event string
		want  tally
		miss  int
	}{
		{"on time", time.Second, "", tally{started: 1, periodic: 1}, 0},
		{"early", -2 * time.Second, "", tally{started: 1, periodic: 1, early: 1}, 0},
		{"late", 2 * time.Minute, "", tally{started: 1, periodic: 1, late: 1}, 0},
		{"twice", time.Second, "started", tally{started: 1, again: 1}, 0},
		{"not at all", 2 * time.Minute, "none", tally{started: 1}, 1},
		{"stopped", time.Second, "stopped", tally{started: 1, stopped: 1}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := &watch{interval: interval, seen: map[string]*heard{}}
			w.begin()
			now := time.Now()
			first := w.note("hash", "started", now)
			if first < time.Minute || first > interval {
				t.Errorf("first interval %v, want one minute to %v", first, interval)
			}
			now = now.Add(first + c.after)
			if c.event != "none" {
				if next := w.note("hash", c.event, now); next != interval {
					t.Errorf("next interval %v, want %v", next, interval)
				}
			}
			got, miss := w.counts(now)
			got.worst, got.began, got.epoch = 0, time.Time{}, 0
			if got != c.want || miss != c.miss {
				t.Errorf("got %+v, %d overdue; want %+v, %d", got, miss, c.want, c.miss)
			}
		})
	}
}

func TestARestartMakesFirstAnnouncesDueAgain(t *testing.T) {
	t.Parallel()
	w := &watch{interval: time.Hour, seen: map[string]*heard{}}
	now := time.Now()
	for range 2 {
		w.begin()
		w.note("hash", "started", now)
	}
	if c, _ := w.counts(now); c.started != 1 || c.again != 0 {
		t.Errorf("after the restart: %+v, want one first announce", c)
	}
}

func TestFirstAnnouncesThatAreDue(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		n      int
		age    time.Duration
		lo, hi int
	}{
		{10_000, 0, 0, 0},
		{10_000, 103 * time.Second, 4700, 4999}, // half of the spread of 200 s
		{10_000, 203 * time.Second, 10_000, 10_000},
		{20, 3 * time.Second, 20, 20}, // no spread at all
	} {
		if got := firstDue(c.n, paced(c.n), c.age); got < c.lo || got > c.hi {
			t.Errorf("%d torrents after %v: %d due, want %d to %d", c.n, c.age, got, c.lo, c.hi)
		}
	}
}

func TestQuantiles(t *testing.T) {
	t.Parallel()
	var s spans
	for i := range 1000 {
		s = append(s, time.Duration(1000-i)*time.Millisecond)
	}
	for q, want := range map[float64]float64{0.5: 500, 0.99: 990, 0.999: 999, 1: 1000} {
		if got := s.ms(q); got != want {
			t.Errorf("quantile %v = %v ms, want %v", q, got, want)
		}
	}
	if got := (spans{}).ms(0.5); got != 0 {
		t.Errorf("median of nothing = %v", got)
	}
}

func TestTorrentsAreValid(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	all, err := many(t.Context(), dir, "http://127.0.0.1:1/announce", 3, false)
	if err != nil {
		t.Fatal(err)
	}
	one := make([]byte, 4*block)
	fill(one, 1)
	all = append(all, filled("tree", "", 5*block, one, []file{{[]string{"a", "b"}, 2 * block}, {[]string{"c"}, 3 * block}}))
	for _, x := range all {
		m, err := metainfo.Parse(x.raw)
		if err != nil {
			t.Fatalf("%s: %v", x.name, err)
		}
		if m.Info.Hash.Wire() != x.hash {
			t.Errorf("%s: info-hash %x, want %x", x.name, m.Info.Hash.Wire(), x.hash)
		}
	}
	data, err := os.ReadFile(filepath.Join(dir, all[1].name))
	if err != nil || sha1.Sum(data) != all[1].pieces[0] {
		t.Errorf("content of %s: %v, or not what the torrent says", all[1].name, err)
	}
	if all[0].hash == all[1].hash || all[0].pieces[0] == all[1].pieces[0] {
		t.Error("two torrents are alike")
	}
	if want := sha1.Sum(one[:block]); all[3].pieces[1] != want {
		t.Error("the hash of the last, shorter piece is wrong")
	}
}

// serve answers like a seed with the given data, once.
func serve(t *testing.T, x *torrent, data []byte) (addr string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &seed{ln: ln, conns: map[net.Conn]bool{}}
	s.reset(data, len(x.pieces))
	done := make(chan struct{})
	go func() {
		defer close(done)
		if conn, err := ln.Accept(); err == nil {
			s.serve(conn)
		}
	}()
	t.Cleanup(func() { s.close(); <-done })
	return ln.Addr().String()
}

func TestFetchChecksWhatItGets(t *testing.T) {
	t.Parallel()
	data := make([]byte, block)
	fill(data, 7)
	x := filled("x", "", block, data, nil)
	if _, err := fetch(serve(t, x, data), x, time.Minute); err != nil {
		t.Errorf("a good block: %v", err)
	}
	bad := bytes.Clone(data)
	bad[100] ^= 1
	if _, err := fetch(serve(t, x, bad), x, time.Minute); err == nil {
		t.Error("a block that does not have the piece's hash was taken")
	}
}
