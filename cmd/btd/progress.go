package main

import (
	"context"
	"fmt"
	"time"

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

const maxProgressLines = 10

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
	name := []rune(t.Name)
	if len(name) > 30 {
		name = append(name[:29], '…')
	}
	return fmt.Sprintf("%-30s %5.1f %%  ↓ %8s/s  ↑ %8s/s  %d peers  %s\n", string(name), done*100,
		humanize.IBytes(uint64(t.RateDown)), humanize.IBytes(uint64(t.RateUp)), t.Peers, what)
}
