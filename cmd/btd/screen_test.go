package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"testing"
	"time"
)

func small() (width, height int) { return 11, 4 }

func textHandler(w io.Writer) slog.Handler { return slog.NewTextHandler(w, nil) }

// TestScreenWaitsForNobody: lines are logged while nobody reads. What there was
// room for comes out later, then how much is missing, then what is logged next.
func TestScreenWaitsForNobody(t *testing.T) {
	r, w := io.Pipe()
	defer r.Close()
	s := openScreen(w, small, textHandler)
	t.Cleanup(s.close)
	log := slog.New(textHandler(s))
	const lines = 2*maxUnwritten/len("msg=line i=12345\n") + 1
	log.Info("line", "i", 0)
	var first [1]byte // whoever has read it knows that the line is being written, and that no other is
	if _, err := io.ReadFull(r, first[:]); err != nil {
		t.Fatal(err)
	}
	for i := range lines - 1 {
		log.Info("line", "i", i+1)
	}
	s.show([]string{"progress"})
	in := bufio.NewScanner(io.MultiReader(bytes.NewReader(first[:]), r))
	next := func() string {
		if !in.Scan() {
			t.Fatalf("the log ends: %v", in.Err())
		}
		return in.Text()
	}
	read, line := 0, next()
	for ; strings.HasSuffix(line, fmt.Sprintf(" msg=line i=%d", read)); line = next() {
		read++
	}
	if read == 0 || !strings.Contains(line, "level=ERROR") || !strings.HasSuffix(line, fmt.Sprintf(" lines=%d", lines-read)) {
		t.Errorf("after %d of %d lines there is %q", read, lines, line)
	}
	if line = next(); line != "progress" {
		t.Errorf("below is %q", line)
	}
	log.Info("more")
	if line = next(); !strings.HasPrefix(line, "\x1b[1A\x1b[Jtime=") || !strings.HasSuffix(line, "msg=more") {
		t.Errorf("the next line is %q", line)
	}
}

// TestScreenKeepsProgressBelow reads what a terminal gets.
func TestScreenKeepsProgressBelow(t *testing.T) {
	r, w := io.Pipe()
	defer r.Close()
	s := openScreen(w, small, textHandler)
	t.Cleanup(s.close)
	for _, step := range []struct {
		do   func()
		want string
	}{
		{func() { io.WriteString(s, "one\n") }, "one\n"},
		{func() { s.show([]string{"a", "b"}) }, "a\nb\n"},
		{func() { io.WriteString(s, "two\n") }, "\x1b[2A\x1b[Jtwo\na\nb\n"},
		{func() { s.show([]string{"0123456789", "01234567890", "c", "no room"}) }, "\x1b[2A\x1b[J0123456789\n012345678…\nc\n"},
		{func() { s.show(nil) }, "\x1b[3A\x1b[J"},
		{func() { io.WriteString(s, "three\n") }, "three\n"},
	} {
		step.do()
		got := make([]byte, len(step.want))
		if _, err := io.ReadFull(r, got); err != nil || string(got) != step.want {
			t.Fatalf("written: %q (%v), want %q", got, err, step.want)
		}
	}
}

func TestScreenSaysItsLastWords(t *testing.T) {
	var out bytes.Buffer
	s := openScreen(&out, small, textHandler)
	s.show([]string{"progress"})
	io.WriteString(s, "the end\n")
	s.close()
	select {
	case <-s.done:
	case <-time.After(patience):
		t.Fatal("the writer goes on")
	}
	if text := strings.ReplaceAll(out.String(), "progress\n\x1b[1A\x1b[J", ""); text != "the end\n" {
		t.Errorf("written: %q", out.String())
	}
}

// TestTheEndWaitsForNobody: neither the log nor the last error keeps the process.
func TestTheEndWaitsForNobody(t *testing.T) {
	r, w := io.Pipe()
	defer r.Close()
	s := openScreen(w, small, textHandler)
	io.WriteString(s, "nobody reads this\n")
	s.close()
	select {
	case <-s.done:
		t.Error("the line is said to be written")
	default:
	}
	complain(w, errors.New("nor this"))
}
