package main

import (
	"context"
	"fmt"
	"strings"
	"time"
	"unicode"

	"btd/session"

	"github.com/dustin/go-humanize"
)

// follow keeps a line per active torrent on display until ctx ends.
func (s *screen) follow(ctx context.Context, ses *session.Session) {
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	defer s.show(nil)
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		var lines []string
		for _, t := range ses.Torrents() {
			active := t.State == session.StateDownloading || t.State == session.StateChecking || t.State == session.StateError || t.RateUp > 0
			if active && len(lines) < maxProgressLines {
				lines = append(lines, progressLine(&t))
			}
		}
		s.show(lines)
	}
}

const (
	maxProgressLines = 10
	nameCells        = 18 // of a progress line: the rest takes up to 61 of 79
)

func progressLine(t *session.Torrent) string {
	done := 1.0
	if t.Wanted > 0 {
		done = float64(t.HaveWanted) / float64(t.Wanted)
	}
	what := string(t.State)
	switch t.State {
	case session.StateChecking:
		done = t.Checked
	case session.StateError:
		what = "error: " + t.Error
	}
	return fmt.Sprintf("%s %5.1f %%  ↓ %8s/s  ↑ %8s/s  %d peers  %s", column(t.Name, nameCells), done*100,
		humanize.IBytes(uint64(t.RateDown)), humanize.IBytes(uint64(t.RateUp)), t.Peers, clean(what))
}

// column is s in n cells.
func column(s string, n int) string {
	s = cut(clean(s), n)
	return s + strings.Repeat(" ", n-width(s))
}

// clean makes text from strangers one line that a terminal does nothing but
// show.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return '·'
	}, s)
}

// cut shortens a line to n cells.
func cut(s string, n int) string {
	const dots = "…"
	switch {
	case width(s) <= n:
		return s
	case n < width(dots):
		return ""
	}
	room := n - width(dots)
	for i, r := range s {
		if room -= cells(r); room < 0 {
			return s[:i] + dots
		}
	}
	return s
}

func width(s string) (n int) {
	for _, r := range s {
		n += cells(r)
	}
	return n
}

// cells is how many cells of a terminal a character takes at most. Those of
// East Asia and pictures take two; that of a few others is guessed too high.
func cells(r rune) int {
	switch {
	case r < 0x1100, // where those begin that may be wide
		0x2010 <= r && r <= 0x2027, // dashes, quotes, dots
		0x2190 <= r && r <= 0x21ff: // arrows
		return 1
	}
	return 2
}
