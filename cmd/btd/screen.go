package main

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"time"

	"golang.org/x/term"
)

const (
	// maxUnwritten is how many bytes of log lines wait for a slow reader.
	maxUnwritten = 256 << 10

	// flushWithin is how long the end of the process is put off for last words
	// that nobody takes.
	flushWithin = 300 * time.Millisecond
)

// screen is where the daemon's words go: log lines, and on a terminal progress
// lines that stay below them. One goroutine writes. Who has something to say
// never waits for it: a terminal that is held, or a pipe that nobody reads, must
// not hold up a torrent. Log lines that find no room are dropped and counted.
type screen struct {
	w       io.Writer
	size    func() (width, height int)   // of the terminal, cells
	handler func(io.Writer) slog.Handler // writes a log line
	wake    chan struct{}                // capacity 1
	done    chan struct{}                // closed when the writer has ended

	mu      sync.Mutex
	log     []byte   // lines that are not written yet
	dropped int      // lines after them
	below   []string // the progress lines to be on display
	closing bool
}

// newScreen makes the screen of a file, which need not be a terminal.
func newScreen(w *os.File, handler func(io.Writer) slog.Handler) *screen {
	fd := int(w.Fd())
	return openScreen(w, func() (int, int) {
		width, height, err := term.GetSize(fd)
		if err != nil || width <= 0 || height <= 0 {
			return 80, 24
		}
		return width, height
	}, handler)
}

func openScreen(w io.Writer, size func() (width, height int), handler func(io.Writer) slog.Handler) *screen {
	s := &screen{w: w, size: size, handler: handler, wake: make(chan struct{}, 1), done: make(chan struct{})}
	go s.run()
	return s
}

// Write takes one log line, or drops it.
func (s *screen) Write(line []byte) (int, error) {
	s.mu.Lock()
	if s.dropped > 0 || len(s.log)+len(line) > maxUnwritten {
		s.dropped++
	} else {
		s.log = append(s.log, line...)
	}
	s.mu.Unlock()
	s.poke()
	return len(line), nil
}

// show replaces the progress lines.
func (s *screen) show(lines []string) {
	s.mu.Lock()
	s.below = lines
	s.mu.Unlock()
	s.poke()
}

// close takes the progress lines off and ends the writer, once it has written
// what was said; flushWithin is all the time it gets for that.
func (s *screen) close() {
	s.mu.Lock()
	s.below, s.closing = nil, true
	s.mu.Unlock()
	s.poke()
	select {
	case <-s.done:
	case <-time.After(flushWithin):
	}
}

func (s *screen) poke() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// run is the goroutine that writes.
func (s *screen) run() {
	defer close(s.done)
	var out []byte
	rows := 0 // of progress on display
	for range s.wake {
		out = appendErase(out[:0], rows)
		s.mu.Lock()
		out = append(out, s.log...)
		dropped, below, last := s.dropped, s.below, s.closing
		s.log, s.dropped = s.log[:0], 0
		s.mu.Unlock()
		if dropped > 0 {
			out = append(out, s.lost(dropped)...)
		}
		out, rows = s.appendRows(out, below)
		if len(out) > 0 {
			_, _ = s.w.Write(out) // a terminal that is gone is no reason to stop
		}
		if last {
			return
		}
	}
}

// appendRows draws progress lines, each in one row of the terminal, and no more
// than can be taken off again: what scrolls away at the top cannot.
func (s *screen) appendRows(b []byte, lines []string) (_ []byte, rows int) {
	if len(lines) == 0 {
		return b, 0
	}
	width, height := s.size()
	lines = lines[:min(len(lines), max(height-1, 0))]
	for _, line := range lines {
		b = append(b, cut(line, width-1)...)
		b = append(b, '\n')
	}
	return b, len(lines)
}

// lost is a log line about lines that are not there.
func (s *screen) lost(lines int) []byte {
	var b bytes.Buffer
	slog.New(s.handler(&b)).Error("lines of the log are missing here: they were not read in time", "lines", lines)
	return b.Bytes()
}

// appendErase takes progress lines off.
func appendErase(b []byte, rows int) []byte {
	if rows == 0 {
		return b
	}
	return fmt.Appendf(b, "\x1b[%dA\x1b[J", rows)
}
