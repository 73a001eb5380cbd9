package server

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
)

func TestFilesAreShared(t *testing.T) {
	var loads atomic.Int32
	f := newFiles(func(h [20]byte) ([]byte, error) {
		loads.Add(1)
		if h[0] == 255 {
			return nil, errors.New("not here")
		}
		return []byte{h[0]}, nil
	})
	var held []func()
	for range 100 {
		data, done, err := f.get(t.Context(), [20]byte{7})
		if err != nil || len(data) != 1 || data[0] != 7 {
			t.Fatalf("%v, %v", data, err)
		}
		held = append(held, done)
	}
	if loads.Load() != 1 {
		t.Errorf("loaded %d times for 100 at once", loads.Load())
	}
	for _, done := range held {
		done()
	}
	if _, _, err := f.get(t.Context(), [20]byte{255}); err == nil {
		t.Error("a file that is not here was given")
	}
	var busy sync.WaitGroup
	for g := range 8 {
		busy.Go(func() {
			for i := range 300 {
				ctx, cancel := context.WithCancel(t.Context())
				if i%3 == 0 {
					cancel()
				}
				data, done, err := f.get(ctx, [20]byte{byte((g + i) % 50)})
				if err == nil {
					if data[0] != byte((g+i)%50) {
						t.Errorf("the wrong file: %v", data)
					}
					done()
				}
				cancel()
			}
		})
	}
	busy.Wait()
	if len(f.open) != 0 || len(f.room) != 0 {
		t.Errorf("%d files, %d places are still in use", len(f.open), len(f.room))
	}
}
