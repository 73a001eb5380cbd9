package server

import (
	"context"
	"sync"
)

// maxFiles is how many torrents' files are in memory at a time.
const maxFiles = 16

// files lets all who are sent the same file share one copy of it, so that
// slow readers cost no more than their connections.
type files struct {
	load func(hash [20]byte) ([]byte, error)
	room chan struct{} // one for each file in memory

	mu   sync.Mutex
	open map[[20]byte]*sharedFile
}

type sharedFile struct {
	users int
	ready chan struct{} // closed once data and err are there
	data  []byte
	err   error
}

func newFiles(load func([20]byte) ([]byte, error)) *files {
	return &files{load: load, room: make(chan struct{}, maxFiles), open: map[[20]byte]*sharedFile{}}
}

// get returns a file and what is to be called when it is not used any more. It
// waits while there is no room for another file.
func (f *files) get(ctx context.Context, hash [20]byte) (data []byte, done func(), err error) {
	f.mu.Lock()
	one := f.open[hash]
	first := one == nil
	if first {
		one = &sharedFile{ready: make(chan struct{})}
		f.open[hash] = one
	}
	one.users++
	f.mu.Unlock()
	done = func() { f.leave(hash, one) }
	if first {
		// Others wait for this, so it does not end with whoever asked first.
		f.room <- struct{}{}
		one.data, one.err = f.load(hash)
		close(one.ready)
	}
	select {
	case <-one.ready:
	case <-ctx.Done():
		done()
		return nil, nil, ctx.Err()
	}
	if one.err != nil {
		done()
		return nil, nil, one.err
	}
	return one.data, done, nil
}

func (f *files) leave(hash [20]byte, one *sharedFile) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if one.users--; one.users == 0 {
		delete(f.open, hash)
		<-f.room
	}
}
