package main

import (
	"context"
	"io"
)

// readerOf is a reader that gives up when ctx ends. A read that is under way
// cannot be called back: it is left alone, and whatever it brings is lost.
func readerOf(ctx context.Context, r io.Reader) io.Reader {
	return readFunc(func(p []byte) (int, error) {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		type result struct {
			n   int
			err error
		}
		own := make([]byte, min(len(p), 64<<10)) // p is the caller's again after this
		read := make(chan result, 1)
		go func() {
			n, err := r.Read(own)
			read <- result{n, err}
		}()
		select {
		case got := <-read:
			return copy(p, own[:got.n]), got.err
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	})
}

type readFunc func([]byte) (int, error)

func (f readFunc) Read(p []byte) (int, error) { return f(p) }
