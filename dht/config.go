package dht

import (
	"errors"
	"math/rand/v2"
	"net/netip"

	"btd/dht/krpc"
	"btd/dht/store"
	"btd/dht/table"
)

// Config holds a node's settings. Send and Rand must be given; the rest may be
// zero.
type Config struct {
	IPv6     bool // the family; packets of the other are dropped
	ReadOnly bool // ask but do not answer (BEP 43)

	// Send sends a packet, which is valid during the call only. An error means
	// that it did not go out.
	Send func(b []byte, to netip.AddrPort) error

	// Rand makes ids, secrets and transaction ids: it must not be foreseeable.
	Rand *rand.Rand

	// State is what State gave in an earlier run. What cannot be read is
	// ignored.
	State []byte

	// ID is our id; zero means the one of State, or else a random one.
	ID krpc.ID

	// Version is sent as v in every packet; 4 bytes by convention, empty for
	// none.
	Version string

	// Refuse, if set, tells of addresses that are neither asked nor answered.
	Refuse func(netip.AddrPort) bool

	// Foreign, if set, hears of nodes of the other family that were named to
	// us, and makes us ask for them once in a while (BEP 32). It is called
	// during HandlePacket.
	Foreign func(addr netip.AddrPort)

	// ForeignNear, if set, appends compact nodes of the other family that are
	// close to target, at most 8, for those who want them (BEP 32).
	ForeignNear func(target krpc.ID, compact []byte) []byte

	Table  table.Config // its IPv6 is set from ours
	Peers  store.PeersConfig
	Items  store.ItemsConfig
	Limits store.LimitsConfig
}

// Errors of searches.
var (
	ErrBusy     = errors.New("dht: too many searches at once")
	ErrNoNodes  = errors.New("dht: no node answered")
	ErrNotFound = errors.New("dht: nobody has it")
	ErrRefused  = errors.New("dht: nobody stores it")
	ErrClosed   = errors.New("dht: closed")
)
