package metainfo

import (
	"encoding/base32"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// MaxMagnet is the longest magnet link that is read, in bytes.
const MaxMagnet = 64 << 10

// Limits on what a magnet link brings along. The rest is ignored.
const (
	maxMagnetPeers = 64
	maxMagnetSpans = 1024
	maxMagnetIndex = 1 << 24 // of a file
	maxMagnetSalt  = 64      // bytes, as BEP 44 has it
)

// Topics of a link.
const (
	topicV1  = "urn:btih:"
	topicV2  = "urn:btmh:"
	topicKey = "urn:btpk:"
	sha256ID = "1220" // of a multihash: SHA-256, 32 bytes
)

// scopeKey is the field of a link that says where peers may be. It is btd's.
const scopeKey = "x.scope"

// ErrMagnet is wrapped by every error about a magnet link that cannot be used.
var ErrMagnet = errors.New("metainfo: bad magnet link")

// Magnet is a magnet link, checked (BEP 9, "magnet URI format").
type Magnet struct {
	Hash     Hash     // xt: zero if the link names only a key
	Name     string   // dn: what to show until the metadata is here
	Length   int64    // xl: bytes, as the link claims; 0 if it does not say
	Trackers []string // tr: announce URLs
	WebSeeds []string // ws
	Peers    []string // x.pe: host:port, the host a name or a literal address
	Only     []Span   // so: the wanted files in order, nil means all (BEP 53)
	Key      []byte   // xs=urn:btpk: an ed25519 public key, whose item names the torrent (BEP 46)
	Salt     []byte   // s: the salt of that item
	Secret   Secret   // behind #: what the swarm's members share; never part of a request
	Scope    Scope    // x.scope: where peers may be; the narrowest if there are several
}

// Span is a range of file indexes, both ends included.
type Span struct{ First, Last int }

// ParseMagnet reads a magnet link. What it says of trackers, web seeds, peers
// and files is taken as far as it makes sense; of its topics one must be a
// torrent or a key. Errors wrap ErrMagnet, and ErrUnsupported if the only
// topic is a v2 torrent. A fragment has to be a secret: a link that lost a
// part of it must not be followed in the open. Likewise a scope must be one
// that is known: a link that is to stay somewhere is not followed everywhere.
func ParseMagnet(link string) (*Magnet, error) {
	link = strings.TrimSpace(link)
	if len(link) > MaxMagnet {
		return nil, badMagnet("it has %d bytes, at most %d are read", len(link), MaxMagnet)
	}
	const scheme = "magnet:?"
	if len(link) < len(scheme) || !strings.EqualFold(link[:len(scheme)], scheme) {
		return nil, badMagnet("it does not begin with %s", scheme)
	}
	var r magnetReader
	link, fragment, closed := strings.Cut(link, "#")
	if closed {
		var err error
		if r.m.Secret, err = ParseSecret(fragment); err != nil {
			return nil, fmt.Errorf("%w: behind the #: %w", ErrMagnet, err)
		}
	}
	for pair := range strings.SplitSeq(link[len(scheme):], "&") {
		// Links copied from web pages have &amp; between their fields.
		key, raw, _ := strings.Cut(strings.TrimPrefix(pair, "amp;"), "=")
		value, err := url.QueryUnescape(raw)
		if err != nil && magnetKey(key) != scopeKey {
			continue
		}
		if hasEscapedSecret(magnetKey(key), value) {
			return nil, badMagnet("the # before its secret is written as %%23: it has to be # itself")
		}
		if err := r.field(magnetKey(key), value); err != nil {
			return nil, err
		}
	}
	return r.finish()
}

// hasEscapedSecret tells whether a field ends in a secret whose # something has
// escaped on its way. The link would be followed in the open, and the secret
// would be part of a name or of an announce.
func hasEscapedSecret(key, value string) bool {
	_, fragment, ok := strings.Cut(value, "#")
	if !ok {
		return false
	}
	_, err := ParseSecret(fragment)
	return err == nil || key == scopeKey
}

// magnetKey is a key in lower case and without the number that tells
// apart several of one kind: tr.2 is tr.
func magnetKey(key string) string {
	key = strings.ToLower(key)
	if name, number, ok := strings.Cut(key, "."); ok {
		if _, err := strconv.ParseUint(number, 10, 16); err == nil {
			return name
		}
	}
	return key
}

// magnetReader gathers the fields of a link.
type magnetReader struct {
	m       Magnet
	v1      []byte
	v2      []byte
	topics  int // of any kind
	tracker [][]string
}

// field takes one field of the link. Only topics and scopes can make it fail.
func (r *magnetReader) field(key, value string) error {
	switch key {
	case "xt":
		return r.topic(value)
	case "xs":
		return r.source(value)
	case "s":
		if salt, err := hex.DecodeString(value); err == nil && len(salt) > 0 && len(salt) <= maxMagnetSalt {
			r.m.Salt = salt
		}
	case "dn":
		if name := cleanMagnetName(value); r.m.Name == "" {
			r.m.Name = name
		}
	case "xl":
		if n, err := strconv.ParseUint(value, 10, 63); err == nil && r.m.Length == 0 {
			r.m.Length = int64(n)
		}
	case "tr":
		if len(r.tracker) < maxLooked {
			r.tracker = append(r.tracker, []string{value})
		}
	case "ws":
		if u, err := WebSeedURL(value); err == nil && len(r.m.WebSeeds) < maxWebSeeds && !slices.Contains(r.m.WebSeeds, u) {
			r.m.WebSeeds = append(r.m.WebSeeds, u)
		}
	case "x.pe":
		if p, ok := magnetPeer(value); ok && len(r.m.Peers) < maxMagnetPeers && !slices.Contains(r.m.Peers, p) {
			r.m.Peers = append(r.m.Peers, p)
		}
	case scopeKey:
		s, err := ParseScope(strings.ToLower(value))
		if err != nil {
			return badMagnet("%s", err)
		}
		r.m.Scope = max(r.m.Scope, s)
	case "so":
		r.m.Only = append(r.m.Only, readSpans(value)...)
	}
	return nil
}

// topic takes an exact topic. Those of other networks are passed over.
func (r *magnetReader) topic(value string) error {
	r.topics++
	switch {
	case hasFoldPrefix(value, topicV1):
		h, err := readV1(value[len(topicV1):])
		if err != nil {
			return err
		}
		if r.v1 != nil && !slices.Equal(r.v1, h) {
			return badMagnet("it names two torrents, %x and %x: split it into two links", r.v1, h)
		}
		r.v1 = h
	case hasFoldPrefix(value, topicV2):
		h, err := hex.DecodeString(value[len(topicV2):])
		if err != nil || len(h) != 34 || hex.EncodeToString(h[:2]) != sha256ID {
			return badMagnet("the v2 info-hash %s is not %s and 64 hexadecimal digits", quote(value[len(topicV2):]), sha256ID)
		}
		if r.v2 != nil && !slices.Equal(r.v2, h[2:]) {
			return badMagnet("it names two v2 torrents: split it into two links")
		}
		r.v2 = h[2:]
	}
	return nil
}

// readV1 reads an info-hash of 40 hexadecimal or 32 base32 digits.
func readV1(s string) ([]byte, error) {
	var (
		h   []byte
		err error
	)
	switch len(s) {
	case 40:
		h, err = hex.DecodeString(s)
	case 32:
		h, err = base32.StdEncoding.DecodeString(strings.ToUpper(s))
	default:
		return nil, badMagnet("the info-hash %s has %d digits, want 40 (hexadecimal) or 32 (base32)", quote(s), len(s))
	}
	if err != nil || len(h) != 20 {
		return nil, badMagnet("the info-hash %s is neither hexadecimal nor base32", quote(s))
	}
	return h, nil
}

// source takes an exact source. Of those only a key is known.
func (r *magnetReader) source(value string) error {
	if !hasFoldPrefix(value, topicKey) {
		return nil
	}
	key, err := hex.DecodeString(value[len(topicKey):])
	if err != nil || len(key) != 32 {
		return badMagnet("the public key %s is not 64 hexadecimal digits", quote(value[len(topicKey):]))
	}
	r.m.Key = key
	return nil
}

// finish checks the whole.
func (r *magnetReader) finish() (*Magnet, error) {
	m := &r.m
	switch {
	case r.v1 != nil:
		m.Hash = V1([20]byte(r.v1))
		if r.v2 != nil {
			m.Hash = m.Hash.WithV2([32]byte(r.v2))
		}
	case r.v2 != nil:
		return nil, fmt.Errorf("%w: %w: it names a v2 torrent only (btmh), and those are not supported yet", ErrMagnet, ErrUnsupported)
	case m.Key == nil && r.topics > 0:
		return nil, badMagnet("none of its topics is a torrent (xt=urn:btih:...)")
	case m.Key == nil:
		return nil, badMagnet("it names no torrent: xt=urn:btih:... is missing")
	}
	if m.Key == nil {
		m.Salt = nil
	} else if !m.Secret.IsZero() {
		return nil, badMagnet("it has a secret and names a key, whose item would be looked for in public")
	}
	for _, tier := range MergeTrackers(nil, r.tracker) {
		m.Trackers = append(m.Trackers, tier...)
	}
	m.Only = MergeSpans(m.Only)
	return m, nil
}

// String is the link, with the secret if there is one: it must not get into a
// log or an answer then. ParseMagnet reads it back as m.
func (m *Magnet) String() string {
	var b strings.Builder
	sep := "magnet:?"
	add := func(key, value string) {
		b.WriteString(sep + key + "=" + value)
		sep = "&"
	}
	if h, ok := m.Hash.V1(); ok {
		add("xt", topicV1+hex.EncodeToString(h[:]))
	}
	if h, ok := m.Hash.V2(); ok {
		add("xt", topicV2+sha256ID+hex.EncodeToString(h[:]))
	}
	if m.Key != nil {
		add("xs", topicKey+hex.EncodeToString(m.Key))
		if m.Salt != nil {
			add("s", hex.EncodeToString(m.Salt))
		}
	}
	if m.Name != "" {
		add("dn", url.QueryEscape(m.Name))
	}
	if m.Length > 0 {
		add("xl", strconv.FormatInt(m.Length, 10))
	}
	for _, u := range m.Trackers {
		add("tr", url.QueryEscape(u))
	}
	for _, u := range m.WebSeeds {
		add("ws", url.QueryEscape(u))
	}
	for _, p := range m.Peers {
		add("x.pe", p)
	}
	if len(m.Only) > 0 {
		add("so", formatSpans(m.Only))
	}
	if m.Scope != ScopeInternet {
		add(scopeKey, m.Scope.String())
	}
	if !m.Secret.IsZero() {
		b.WriteString("#" + m.Secret.String())
	}
	return b.String()
}

// Tiers is the link's trackers as AddTrackers and torrents have them: each is
// a tier of its own, since the link has no order.
func (m *Magnet) Tiers() [][]string {
	var tiers [][]string
	for _, u := range m.Trackers {
		tiers = append(tiers, []string{u})
	}
	return tiers
}

// magnetPeer checks host:port and gives it one form.
func magnetPeer(s string) (string, bool) {
	if a, err := netip.ParseAddrPort(s); err == nil {
		ok := a.Port() != 0 && a.Addr().Zone() == "" && !a.Addr().IsUnspecified() && !a.Addr().IsMulticast()
		return netip.AddrPortFrom(a.Addr().Unmap(), a.Port()).String(), ok
	}
	host, port, err := net.SplitHostPort(s)
	if err != nil || !validPort(port) || host == "" || len(host) > 253 || host[0] == '-' || host[0] == '.' {
		return "", false
	}
	for _, c := range []byte(host) {
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '.' || c == '_') {
			return "", false
		}
	}
	n, _ := strconv.ParseUint(port, 10, 16)
	return net.JoinHostPort(strings.ToLower(host), strconv.FormatUint(n, 10)), true
}

// cleanMagnetName makes one line of at most 255 bytes.
func cleanMagnetName(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, "\uFFFD"))
	if len(s) > maxName {
		s = strings.ToValidUTF8(s[:maxName], "")
	}
	return strings.TrimSpace(s)
}

func hasFoldPrefix(s, prefix string) bool {
	return len(s) >= len(prefix) && strings.EqualFold(s[:len(prefix)], prefix)
}

func badMagnet(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrMagnet, fmt.Sprintf(format, args...))
}
