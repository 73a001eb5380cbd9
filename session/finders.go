package session

import "context"

// finders look for peers, each in a way of its own and for all torrents at
// once. A torrent that is announced to its trackers (announcer.start) is looked
// for in all other ways that are open to it as well.
type finders struct {
	announcer *announcer  // asks trackers
	scraper   *scraper    // asks trackers how large the swarms are that we are not in
	seeker    *seeker     // asks the DHT
	near      *neighbours // asks the local network
	follower  *follower   // asks the DHT for newer versions; nil until all torrents are back
}

func newFinders(s *Session, udp udpSockets) finders {
	return finders{announcer: newAnnouncer(s), scraper: &scraper{s: s}, seeker: newSeeker(s, udp), near: newNeighbours(s)}
}

// tasks is what each of them does until its context ends.
func (f *finders) tasks() []func(context.Context) {
	return []func(context.Context){f.announcer.run, f.scraper.run, f.seeker.run, f.near.run, f.follower.run}
}

// end ends what waits for others, and tells the trackers goodbye.
func (f *finders) end() {
	if f.follower != nil {
		f.follower.close()
	}
	f.seeker.close()
	f.announcer.close()
}
