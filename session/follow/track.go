package follow

// Version is one version of what is followed.
type Version struct {
	Hash [20]byte // zero: there is none
	Seq  int64    // of the item that named it
}

// Some tells whether there is one.
func (v Version) Some() bool { return v.Hash != [20]byte{} }

// Track is where a follower stands. The zero value has seen nothing yet.
type Track struct {
	Current Version // the version in use
	Next    Version // the one that is to take its place
}

// Latest is the newest version known.
func (t *Track) Latest() Version {
	if t.Next.Some() {
		return t.Next
	}
	return t.Current
}

// News is what an item means.
type News uint8

// What an item can mean.
const (
	Nothing  News = iota // it is the one that is known
	Old                  // its number is lower than the one known
	Conflict             // it has the number of the one known, and says something else
	Unusable             // it is newer and names no torrent
	Renewed              // it is newer and names the torrent that is known; what was to come before is off
	Fresh                // it is newer and names a torrent that was not: Next is set
)

// Refused tells whether the item is to be ignored and counted.
func (n News) Refused() bool { return n == Old || n == Conflict || n == Unusable }

// Found takes an item whose signature is right.
func (t *Track) Found(seq int64, value []byte) News {
	hash, ok := ReadValue(value)
	latest := t.Latest()
	switch {
	case latest.Some() && seq < latest.Seq:
		return Old
	case latest.Some() && seq == latest.Seq && ok && hash == latest.Hash:
		return Nothing
	case latest.Some() && seq == latest.Seq:
		return Conflict
	case !ok:
		return Unusable
	case hash == t.Current.Hash:
		t.Current.Seq, t.Next = seq, Version{}
		return Renewed
	case hash == t.Next.Hash:
		t.Next.Seq = seq
		return Renewed
	}
	t.Next = Version{Hash: hash, Seq: seq}
	return Fresh
}

// Switch makes the next version the current one.
func (t *Track) Switch() {
	if t.Next.Some() {
		t.Current, t.Next = t.Next, Version{}
	}
}
