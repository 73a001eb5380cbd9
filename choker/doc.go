// Package choker decides which peers we upload to: tit for tat (BEP 3).
//
// Downloading, the peers that give us most get the regular slots; the other
// slots are optimistic, they go round among those who gave nothing yet, so
// that better partners are found and newcomers get something to trade.
// Seeding, the peers that take most get most of the slots, and a share of them
// goes round so that every interested peer has its turn.
//
// It is pure: no I/O, no goroutine, no clock, no log, and it holds no
// connection, only numbers of peers. The same calls with the same random
// source give the same decisions.
package choker
