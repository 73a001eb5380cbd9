package main

import (
	"context"
	"io"
	"strings"
	"testing"
	"time"
)

// silent is a stdin that brings no more than first.
type silent struct {
	first strings.Reader
	asked chan struct{} // closed once it is asked for more
	end   chan struct{}
	once  bool
}

func (s *silent) Read(p []byte) (int, error) {
	if n, _ := s.first.Read(p); n > 0 {
		return n, nil
	}
	if !s.once {
		s.once = true
		close(s.asked)
	}
	<-s.end
	return 0, io.EOF
}

// TestStdinIsNotWaitedFor ends commands that wait for a stdin which says
// nothing.
func TestStdinIsNotWaitedFor(t *testing.T) {
	for _, tt := range []struct {
		name, first string
		args        []string
	}{
		{"a question", "", []string{"rm", "aa1"}},
		{"half an answer", "y", []string{"rm", "aa1", "--data"}},
		{"a torrent", "", []string{"add", "-"}},
		{"half a torrent", "d4:info", []string{"add", "-"}},
		{"a torrent to look at", "", []string{"inspect", "-"}},
		{"a torrent to link to", "", []string{"magnet", "-"}},
		{"a shared line", "magnet:", []string{"join", "-"}},
	} {
		for _, how := range []string{"interrupted", "timed out"} {
			t.Run(tt.name+", "+how, func(t *testing.T) {
				d := newDaemon(t)
				in := &silent{first: *strings.NewReader(tt.first), asked: make(chan struct{}), end: make(chan struct{})}
				defer close(in.end)
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				w := world{env: map[string]string{"BTD_API": d.socket}, in: in, tty: true, ctx: ctx}
				code, args := exitFailed, tt.args
				if how == "timed out" {
					code, args = exitTimeout, append(args[:len(args):len(args)], "--timeout", "50ms")
				}
				ended := make(chan result, 1)
				go func() { ended <- w.run(args...) }()
				wait := time.After(time.Minute)
				if how == "interrupted" {
					select {
					case <-in.asked:
						cancel()
					case <-wait:
						t.Fatal("nothing is read")
					}
				}
				select {
				case r := <-ended:
					if r.code != code || !strings.Contains(r.err, how) || d.asked() != "" {
						t.Errorf("asked %q, %v, want exit %d", d.asked(), r, code)
					}
				case <-wait:
					t.Fatal("it still waits")
				}
			})
		}
	}
}

// TestReaderOf passes on what there is, and the end.
func TestReaderOf(t *testing.T) {
	text := strings.Repeat("0123456789abcdef", 10_000)
	b, err := io.ReadAll(readerOf(t.Context(), strings.NewReader(text)))
	if err != nil || string(b) != text {
		t.Errorf("%d of %d bytes, %v", len(b), len(text), err)
	}
}
