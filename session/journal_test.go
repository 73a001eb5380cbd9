package session

import (
	"slices"
	"testing"
	"time"

	"btd/piece"
)

func TestJournal(t *testing.T) {
	check := func(name string, j *journal, good, lost []piece.Index) {
		t.Helper()
		if !slices.Equal(j.now.good, good) || !slices.Equal(j.now.lost, lost) {
			t.Errorf("%s: good %v, lost %v; want %v, %v", name, j.now.good, j.now.lost, good, lost)
		}
		if j.empty() != (len(good) == 0 && len(lost) == 0) {
			t.Errorf("%s: empty is %t", name, j.empty())
		}
	}
	type list = []piece.Index
	j := &journal{}
	check("new", j, nil, nil)
	j.add(1, 10)
	j.add(2, 10)
	j.drop(1)
	check("lost after it was good", j, list{2}, list{1})
	j.add(1, 10)
	check("good again: the old claim goes first", j, list{2, 1}, list{1})
	j.drop(3)
	u := unsaved{lost: j.takeLost()}
	u.good = j.takeGood().good
	if !slices.Equal(u.good, list{2, 1}) || !slices.Equal(u.lost, list{1, 3}) {
		t.Errorf("took %v and %v", u.good, u.lost)
	}
	check("taken", j, nil, nil)
	j.add(4, 10)
	j.drop(5)
	j.giveBack(u)
	check("given back", j, list{2, 1, 4}, list{1, 3, 5})
}

// TestJournalGiveBackIsOlder: what happened since it was taken is newer than
// what is given back.
func TestJournalGiveBackIsOlder(t *testing.T) {
	j := &journal{}
	j.add(1, 10)
	j.drop(2)
	u := j.takeGood()
	u.lost = j.takeLost()
	j.drop(1)
	j.add(2, 10)
	j.giveBack(u)
	if !slices.Equal(j.now.good, []piece.Index{2}) || !slices.Equal(j.now.lost, []piece.Index{2, 1}) {
		t.Errorf("good %v, lost %v; want 2 good once its old claim is gone, and 1 lost", j.now.good, j.now.lost)
	}
}

// TestJournalClaimsInOrder: an old claim is taken back before the piece is
// claimed anew, and what was lost while it was synced is not claimed.
func TestJournalClaimsInOrder(t *testing.T) {
	type list = []piece.Index
	j := &journal{}
	j.revoke(1)
	j.add(1, 10)
	j.add(2, 10)
	j.add(3, 10)
	if u := j.takeGood(); !slices.Equal(u.good, list{2, 3}) {
		t.Errorf("took %v, want what has no old claim", u.good)
	}
	j.drop(3) // while they are synced
	j.add(3, 10)
	if got := j.landed(); !slices.Equal(got, list{2}) {
		t.Errorf("to be claimed: %v, want piece 2", got)
	}
	if got := j.landed(); len(got) != 0 {
		t.Errorf("to be claimed twice: %v", got)
	}
	if got := j.takeLost(); !slices.Equal(got, list{1, 3}) {
		t.Errorf("to be taken back: %v, want 1 and 3", got)
	}
	if u := j.takeGood(); !slices.Equal(u.good, list{1, 3}) || !slices.Equal(j.landed(), list{1, 3}) {
		t.Errorf("took %v, want 1 and 3", u.good)
	}
	if !j.empty() {
		t.Error("something is left")
	}
}

// TestJournalAfterAFailedSync: nothing is claimed until what is in doubt was
// collected, late pieces included.
func TestJournalAfterAFailedSync(t *testing.T) {
	j := &journal{}
	j.add(1, 10)
	if u := j.takeGood(); len(u.good) != 1 || u.bytes != 10 {
		t.Errorf("took %+v, want piece 1 of 10 bytes", u)
	}
	j.shake()
	j.add(2, 10)
	if u := j.takeGood(); len(u.good) != 0 {
		t.Errorf("took %v after a sync that failed", u.good)
	}
	if j.empty() {
		t.Error("the late piece is gone")
	}
	if got := j.doubtful(); !slices.Equal(got, []piece.Index{2}) {
		t.Errorf("in doubt: %v, want piece 2", got)
	}
	if got := j.doubtful(); len(got) != 0 || !j.empty() {
		t.Errorf("in doubt again: %v", got)
	}
	j.add(3, 10)
	if u := j.takeGood(); !slices.Equal(u.good, []piece.Index{3}) {
		t.Errorf("took %v, want piece 3", u.good)
	}
}

// TestJournalMeasuresSlowSyncs: only a sync that took long limits the next.
func TestJournalMeasuresSlowSyncs(t *testing.T) {
	j := &journal{}
	j.synced(100<<20, 4*time.Second)
	if _, rate := j.size(); rate != 25<<20 {
		t.Errorf("rate %v, want 25 MiB/s", rate)
	}
	j.synced(0, 4*time.Second)
	if _, rate := j.size(); rate != 25<<20 {
		t.Errorf("rate %v after a sync of nothing, want the one before", rate)
	}
	j.synced(1<<20, time.Millisecond)
	if _, rate := j.size(); rate != 0 {
		t.Errorf("rate %v, want no limit after a short sync", rate)
	}
}
