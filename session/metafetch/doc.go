// Package metafetch fetches an info dictionary from the peers of a torrent of
// which only the info-hash is known (BEP 9).
//
// Nobody can be believed before the whole is there: neither the size that a
// peer claims nor its pieces. So every size that somebody claims is a
// candidate of its own, fetched only from those who claim it, and only the
// info-hash says which was right. Pieces are asked of all of them at once;
// one that does not come in time is asked of others too, while a late answer
// still counts. Claims cost nothing, so memory is bounded by what is fetched, and
// where not all candidates fit, the hosts that claim them take turns.
//
// If a candidate is complete and its hash is wrong, all of it is thrown away.
// If one peer sent it all, that peer lied. If several did, the candidate is
// fetched again from one of them alone, and so on, until one is honest or none
// is left; then the pieces that were wrong name the liars among those who sent
// the first one.
//
// It is pure: no socket, no goroutine, no clock. The same calls give the same
// answers. A Fetcher is not safe for concurrent use.
package metafetch
