package main

import (
	"strings"
	"testing"

	"btd/session"
)

// TestProgressFitsATerminal: a line of 80 cells would take two rows on some.
func TestProgressFitsATerminal(t *testing.T) {
	for _, name := range []string{"", "a", strings.Repeat("long ", 20), strings.Repeat("日本", 20), "日本x" + strings.Repeat("本", 20), "évil \x1b[2J\n\u202ename"} {
		for _, x := range []session.Torrent{
			{State: session.StateDownloading, Wanted: 4, HaveWanted: 1},
			{State: session.StateDownloading, Wanted: 1, HaveWanted: 1, RateDown: 1023 << 20, RateUp: 1023 << 20, Peers: 9999},
			{State: session.StateError, Error: strings.Repeat("no room\n", 30)},
		} {
			x.Name = name
			line := progressLine(&x)
			if strings.ContainsAny(line, "\n\x1b\u202e") {
				t.Errorf("%q does more than show", line)
			}
			if n := width(line); n > 79 && x.State != session.StateError {
				t.Errorf("%d cells, and the state would be cut: %s", n, line)
			}
			if at := strings.Index(line, " %  ↓"); at < 0 || width(line[:at]) != nameCells+len(" 100.0") {
				t.Errorf("the columns do not stand below each other: %s", line)
			}
			for _, n := range []int{79, 40, 10, 2, 1, 0} {
				if got := width(cut(line, n)); got > n {
					t.Errorf("%d cells of %d: %s", got, n, cut(line, n))
				}
			}
		}
	}
	if got := cut("日本語", 5); got != "日本…" {
		t.Errorf("cut to 5 cells: %s", got)
	}
	if got := cut("日本語", 6); got != "日本語" {
		t.Errorf("6 cells in 6: %s", got)
	}
}
