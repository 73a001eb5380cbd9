package session

import (
	"slices"
	"sync"
	"time"

	"btd/piece"
)

// journal holds what the loop wants recorded and the persister has not
// written yet. Pieces enter it when they are written, and are claimed only
// after a sync (see persist.go).
type journal struct {
	mu     sync.Mutex
	now    unsaved
	shaken bool    // a sync failed: see shake
	rate   float64 // of the last sync that was worth measuring, bytes a second; 0 before it
}

// unsaved is what is to be recorded of a torrent.
type unsaved struct {
	good  []piece.Index
	lost  []piece.Index
	bytes int64 // written for good; pieces that were lost again count as well
}

func (j *journal) add(i piece.Index, n int64) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.now.lost = without(j.now.lost, i)
	j.now.good = append(j.now.good, i)
	j.now.bytes += n
}

func (j *journal) drop(i piece.Index) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.now.good = without(j.now.good, i)
	j.now.lost = append(j.now.lost, i)
}

func without(s []piece.Index, i piece.Index) []piece.Index {
	if len(s) == 0 {
		return s
	}
	return slices.DeleteFunc(s, func(x piece.Index) bool { return x == i })
}

// takeGood takes the pieces to be claimed: none after a sync that failed.
func (j *journal) takeGood() unsaved {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.shaken {
		return unsaved{}
	}
	u := unsaved{good: j.now.good, bytes: j.now.bytes}
	j.now.good, j.now.bytes = nil, 0
	return u
}

// shake notes that a sync failed. What was written before that is in doubt, and
// some of it has not come to the journal yet. Nothing is claimed until the loop
// has collected it with doubtful.
func (j *journal) shake() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.shaken = true
}

// doubtful takes the pieces that came to the journal around a sync that failed.
// They are not claimed, and are to be verified. What comes from now on counts.
func (j *journal) doubtful() []piece.Index {
	j.mu.Lock()
	defer j.mu.Unlock()
	if !j.shaken {
		return nil
	}
	good := j.now.good
	j.now.good, j.now.bytes, j.shaken = nil, 0, false
	return good
}

// restart forgets the pieces that an earlier loop could not record: the next
// one finds them by hashing, or finds that they are bad.
func (j *journal) restart() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.now.good, j.now.bytes, j.shaken = nil, 0, false
}

// takeLost takes the pieces whose claims are to be taken back.
func (j *journal) takeLost() []piece.Index {
	j.mu.Lock()
	defer j.mu.Unlock()
	lost := j.now.lost
	j.now.lost = nil
	return lost
}

// giveBack returns what could not be written. What came to the journal in the
// meantime is newer and wins.
func (j *journal) giveBack(u unsaved) {
	j.mu.Lock()
	defer j.mu.Unlock()
	newer := make(map[piece.Index]bool, len(j.now.good)+len(j.now.lost))
	for _, list := range [][]piece.Index{j.now.good, j.now.lost} {
		for _, i := range list {
			newer[i] = true
		}
	}
	older := func(i piece.Index) bool { return newer[i] }
	j.now.good = append(slices.DeleteFunc(u.good, older), j.now.good...)
	j.now.lost = append(slices.DeleteFunc(u.lost, older), j.now.lost...)
	j.now.bytes += u.bytes
}

// size is how many bytes wait for a sync, and how many of them one may be
// expected to write in a second; 0 means that nobody knows.
func (j *journal) size() (bytes int64, rate float64) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.now.bytes, j.rate
}

// synced notes how long a sync took. Short ones tell nothing about the disk,
// but they do tell that it is not slow.
func (j *journal) synced(bytes int64, took time.Duration) {
	j.mu.Lock()
	defer j.mu.Unlock()
	switch {
	case took < syncTime/2:
		j.rate = 0
	case bytes > 0:
		j.rate = float64(bytes) / took.Seconds()
	}
}

// lacks tells whether claims are to be taken back.
func (j *journal) lacks() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return len(j.now.lost) > 0
}

func (j *journal) empty() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return len(j.now.good) == 0 && len(j.now.lost) == 0
}
