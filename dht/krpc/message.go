package krpc

import "net/netip"

// Kind is the kind of a message, the byte of key y.
type Kind byte

// The kinds.
const (
	Query Kind = 'q'
	Reply Kind = 'r'
	Error Kind = 'e'
)

// Method is what a query asks for.
type Method uint8

// The methods. Other is any name that is none of them.
const (
	Other Method = iota
	Ping
	FindNode
	GetPeers
	AnnouncePeer
	Get              // BEP 44
	Put              // BEP 44
	SampleInfohashes // BEP 51
	NumMethods       // how many there are
)

// String is the name on the wire.
func (m Method) String() string {
	switch m {
	case Ping:
		return "ping"
	case FindNode:
		return "find_node"
	case GetPeers:
		return "get_peers"
	case AnnouncePeer:
		return "announce_peer"
	case Get:
		return "get"
	case Put:
		return "put"
	case SampleInfohashes:
		return "sample_infohashes"
	}
	return "other"
}

func methodOf(name []byte) Method {
	switch string(name) {
	case "ping":
		return Ping
	case "find_node":
		return FindNode
	case "get_peers":
		return GetPeers
	case "announce_peer":
		return AnnouncePeer
	case "get":
		return Get
	case "put":
		return Put
	case "sample_infohashes":
		return SampleInfohashes
	}
	return Other
}

// Field is a bit for each key of a body. A body's Has tells which of its
// fields mean something.
type Field uint32

// The fields.
const (
	HasID Field = 1 << iota
	HasTarget
	HasInfoHash
	HasPort
	HasImpliedPort
	HasToken
	HasWant
	HasNoSeed
	HasScrape
	HasSeed
	HasName
	HasNodes
	HasNodes6
	HasValues
	HasBFsd
	HasBFpe
	HasSeq
	HasV
	HasK
	HasSig
	HasSalt
	HasCas
	HasSamples
	HasNum
	HasInterval
)

// Want says which nodes a query asks for (BEP 32).
type Want uint8

// The families that can be wanted.
const (
	WantNodes  Want = 1 << iota // n4
	WantNodes6                  // n6
)

// Sizes of fixed fields, in bytes.
const (
	FilterSize    = 256 // a bloom filter of BEP 33
	KeySize       = 32  // an ed25519 public key
	SignatureSize = 64  // an ed25519 signature
)

// Body is what stands below a in a query and below r in a reply. The keys of
// both do not collide, so there is one struct for them. Only fields whose bit is
// in Has mean something. Slices point into the packet.
type Body struct {
	Has         Field
	Want        Want // BEP 32
	ImpliedPort bool // the port is the one that the packet comes from
	NoSeed      bool // BEP 33: prefer peers that are no seeds
	Scrape      bool // BEP 33: send filters
	Seed        bool // BEP 33: the announcing peer is a seed
	Port        uint16
	ID          ID
	Target      ID
	InfoHash    ID
	Token       []byte
	Name        []byte // of an announced torrent; not standardised
	Nodes       []byte // compact IPv4 nodes, see Nodes4
	Nodes6      []byte // compact IPv6 nodes, see Nodes6
	Values      []byte // the elements of the list, bencoded: see Peers and AppendValue
	BFsd        []byte // BEP 33: filter of seeds, FilterSize bytes
	BFpe        []byte // BEP 33: filter of peers
	V           []byte // BEP 44: the value, bencoded, not checked: see Canonical
	K           []byte // BEP 44: public key, KeySize bytes
	Sig         []byte // BEP 44: signature, SignatureSize bytes
	Salt        []byte // BEP 44
	Seq         int64  // BEP 44
	Cas         int64  // BEP 44
	Samples     []byte // BEP 51: info-hashes, a multiple of 20 bytes
	Num         int64  // BEP 51: info-hashes stored
	Interval    int64  // BEP 51: seconds until other samples are given
}

// Message is one packet.
type Message struct {
	T        []byte // transaction id
	Kind     Kind
	Method   Method // of a query
	ReadOnly bool   // BEP 43
	Asked    []byte // of a query: the name of the method
	Version  []byte // of the client, 4 bytes by convention; nil if absent
	// IP is the receiver's address as the sender sees it (BEP 42), invalid if
	// absent. Its port is 0 where the sender gives none.
	IP   netip.AddrPort
	Code int    // of an error
	Text []byte // of an error
	Body
}

// SetQuery makes m a query without arguments but the sender's id.
func (m *Message) SetQuery(t []byte, method Method, id ID) {
	*m = Message{T: t, Kind: Query, Method: method}
	m.ID, m.Has = id, HasID
}

// SetReply makes m a reply with the sender's id only.
func (m *Message) SetReply(t []byte, id ID) {
	*m = Message{T: t, Kind: Reply}
	m.ID, m.Has = id, HasID
}

// SetError makes m an error.
func (m *Message) SetError(t []byte, code int, text []byte) {
	*m = Message{T: t, Kind: Error, Code: code, Text: text}
}

// SetTarget sets the target.
func (b *Body) SetTarget(id ID) { b.Target, b.Has = id, b.Has|HasTarget }

// SetInfoHash sets the info-hash.
func (b *Body) SetInfoHash(id ID) { b.InfoHash, b.Has = id, b.Has|HasInfoHash }

// SetWant sets the families of nodes that are wanted. 0 leaves the key out.
func (b *Body) SetWant(w Want) {
	if b.Want = w; w != 0 {
		b.Has |= HasWant
	}
}

// SetPort sets the announced port, and whether the packet's counts instead.
func (b *Body) SetPort(port uint16, implied bool) {
	b.Port, b.Has = port, b.Has|HasPort
	if b.ImpliedPort = implied; implied {
		b.Has |= HasImpliedPort
	}
}

// SetSeed says that the announcing peer is a seed.
func (b *Body) SetSeed() { b.Seed, b.Has = true, b.Has|HasSeed }

// SetNoSeed asks for peers that are no seeds.
func (b *Body) SetNoSeed() { b.NoSeed, b.Has = true, b.Has|HasNoSeed }

// SetScrape asks for filters.
func (b *Body) SetScrape() { b.Scrape, b.Has = true, b.Has|HasScrape }

// SetToken sets the token.
func (b *Body) SetToken(token []byte) { b.Token, b.Has = token, b.Has|HasToken }

// SetNodes sets the compact IPv4 nodes.
func (b *Body) SetNodes(compact []byte) { b.Nodes, b.Has = compact, b.Has|HasNodes }

// SetNodes6 sets the compact IPv6 nodes.
func (b *Body) SetNodes6(compact []byte) { b.Nodes6, b.Has = compact, b.Has|HasNodes6 }

// SetValues sets the peers, made by AppendValue.
func (b *Body) SetValues(values []byte) { b.Values, b.Has = values, b.Has|HasValues }

// SetFilters sets both bloom filters, of FilterSize bytes each.
func (b *Body) SetFilters(seeds, peers []byte) {
	b.BFsd, b.BFpe, b.Has = seeds, peers, b.Has|HasBFsd|HasBFpe
}

// SetSeq sets the sequence number.
func (b *Body) SetSeq(seq int64) { b.Seq, b.Has = seq, b.Has|HasSeq }

// SetCas sets the sequence number that is to be replaced.
func (b *Body) SetCas(cas int64) { b.Cas, b.Has = cas, b.Has|HasCas }

// SetV sets the value, which must be bencoded.
func (b *Body) SetV(v []byte) { b.V, b.Has = v, b.Has|HasV }

// SetKey sets the public key and the signature of a mutable item.
func (b *Body) SetKey(key, sig []byte) { b.K, b.Sig, b.Has = key, sig, b.Has|HasK|HasSig }

// SetSalt sets the salt. An empty one is left out.
func (b *Body) SetSalt(salt []byte) {
	if b.Salt = salt; len(salt) > 0 {
		b.Has |= HasSalt
	}
}

// SetSamples sets the fields of BEP 51.
func (b *Body) SetSamples(samples []byte, num, interval int64) {
	b.Samples, b.Num, b.Interval, b.Has = samples, num, interval, b.Has|HasSamples|HasNum|HasInterval
}
