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
	flight []piece.Index // taken by takeGood and not claimed yet; what is lost meanwhile leaves it
	shaken bool          // a sync failed: see shake
	rate   float64       // of the last sync that was worth measuring, bytes a second; 0 before it
}

// unsaved is what is to be recorded of a torrent. A piece that was lost and
// fetched again is in both lists: its old claim speaks of bytes that are no
// longer there, and the new one has to wait for its sync.
type unsaved struct {
	good  []piece.Index
	lost  []piece.Index
	bytes int64 // written for good; pieces that were lost again count as well
}

func (j *journal) add(i piece.Index, n int64) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.now.good = append(j.now.good, i)
	j.now.bytes += n
}

// drop notes that a piece which was good is lost.
func (j *journal) drop(i piece.Index) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.now.good = without(j.now.good, i)
	j.flight = without(j.flight, i)
	j.now.lost = append(j.now.lost, i)
}

// revoke is drop for a piece that did not come to this journal: only an earlier
// loop has claimed it.
func (j *journal) revoke(i piece.Index) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.now.lost = append(j.now.lost, i)
}

func without(s []piece.Index, i piece.Index) []piece.Index {
	if len(s) == 0 {
		return s
	}
	return slices.DeleteFunc(s, func(x piece.Index) bool { return x == i })
}

// takeGood takes the pieces to be claimed: none after a sync that failed, and
// none whose old claim is still to be taken back. landed says which of them are
// still good when they were synced.
func (j *journal) takeGood() unsaved {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.shaken {
		return unsaved{}
	}
	u := unsaved{good: j.now.good, bytes: j.now.bytes}
	j.now.good, j.now.bytes = nil, 0
	if lost := setOf(j.now.lost); len(lost) > 0 {
		u.good = slices.DeleteFunc(u.good, func(i piece.Index) bool {
			if lost[i] {
				j.now.good = append(j.now.good, i)
			}
			return lost[i]
		})
	}
	j.flight = slices.Clone(u.good)
	return u
}

// landed ends what takeGood began: those pieces, but for what was lost since.
func (j *journal) landed() []piece.Index {
	j.mu.Lock()
	defer j.mu.Unlock()
	good := j.flight
	j.flight = nil
	return good
}

func setOf(lists ...[]piece.Index) map[piece.Index]bool {
	var set map[piece.Index]bool
	for _, list := range lists {
		for _, i := range list {
			if set == nil {
				set = make(map[piece.Index]bool, len(list))
			}
			set[i] = true
		}
	}
	return set
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
// meantime is newer: a piece that was lost since is not good any more. One that
// became good since is still to be taken back first.
func (j *journal) giveBack(u unsaved) {
	j.mu.Lock()
	defer j.mu.Unlock()
	newer, lost := setOf(j.now.good, j.now.lost), setOf(j.now.lost)
	j.now.good = append(slices.DeleteFunc(u.good, func(i piece.Index) bool { return newer[i] }), j.now.good...)
	j.now.lost = append(slices.DeleteFunc(u.lost, func(i piece.Index) bool { return lost[i] }), j.now.lost...)
	j.now.bytes += u.bytes
}

// losses are the pieces whose claims are still to be taken back.
func (j *journal) losses() []piece.Index {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.Clone(j.now.lost)
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
