// Package dhtpace decides when which torrent is searched for, and announced, in
// the DHT (BEP 5): one Pacer for all torrents, so that a hundred thousand of them
// cost no more packets than its budget.
//
// It is pure: events and the time come in, decisions and the next deadline come
// out. It knows neither torrents nor the DHT.
//
//	hungry  needs peers                at once; again after 10 s, and less and less often where nobody is found
//	steady  is taken part in           each 20 minutes: others forget an announce after 30
//	lonely  complete, nobody wants it  each 28 minutes, and last where there are more than the budget allows
//
// Hungry torrents have a budget of their own, so that a download does not wait
// behind seeds. What a search costs is known only when it is over: until then
// it counts as much as those before it did on average.
package dhtpace
