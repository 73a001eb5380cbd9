package tracker

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"
)

const maxRetransmissions = 8 // BEP 15

// udpClient sends requests of BEP 15 over at most two sockets, one for each
// family.
type udpClient struct {
	retry    time.Duration
	maxPeers int
	resolver *resolver

	mu      sync.Mutex
	closed  bool
	sockets [2]*udpSocket // IPv4, IPv6; opened on first use
}

func newUDPClient(cfg Config, r *resolver) *udpClient {
	return &udpClient{retry: cfg.UDPRetry, maxPeers: cfg.MaxPeers, resolver: r}
}

func (c *udpClient) announce(ctx context.Context, u *url.URL, r Request) (Response, error) {
	data := u.EscapedPath()
	if u.RawQuery != "" {
		data += "?" + u.RawQuery
	}
	p, v6, err := c.exchange(ctx, u, r.Family, actionAnnounce, func(b []byte) []byte {
		return appendAnnounce(b, r, data)
	})
	if err != nil {
		return Response{}, err
	}
	return decodeUDPAnnounce(p, v6, c.maxPeers)
}

func (c *udpClient) scrape(ctx context.Context, u *url.URL, hashes [][20]byte) ([]ScrapeResult, error) {
	p, _, err := c.exchange(ctx, u, Any, actionScrape, func(b []byte) []byte {
		for i := range hashes {
			b = append(b, hashes[i][:]...)
		}
		return b
	})
	if err != nil {
		return nil, err
	}
	return decodeUDPScrape(p, len(hashes))
}

// exchange sends one request until it is answered or ctx ends, to the next
// address of the host each time.
func (c *udpClient) exchange(ctx context.Context, u *url.URL, f Family, action uint32, body func([]byte) []byte) (answer []byte, v6 bool, err error) {
	host := u.Hostname()
	addrs, err := c.resolver.addrs(ctx, host, f)
	if err != nil {
		return nil, false, err
	}
	port, err := strconv.ParseUint(u.Port(), 10, 16)
	if err != nil {
		return nil, false, fmt.Errorf("%w: bad port", ErrURL)
	}
	began, wait := time.Now(), c.firstWait(ctx)
	var oldest time.Time // a connection id must be as young as this
	for n := range maxRetransmissions + 1 {
		to := netip.AddrPortFrom(addrs[n%len(addrs)], uint16(port))
		socket, err := c.socket(to.Addr())
		if err != nil {
			return nil, false, familyError(f, err)
		}
		answer, err = socket.request(ctx, to, action, wait<<n, oldest, body)
		if isStale(err) && oldest.IsZero() { // the tracker forgot a connection that we remember
			oldest = began
			answer, err = socket.request(ctx, to, action, wait<<n, oldest, body)
		}
		if err == nil {
			return answer, socket.v6, nil
		}
		if !errors.Is(err, errTryAgain) {
			return nil, false, familyError(f, err)
		}
		oldest = began // the tracker may have been restarted: a connection from before is not trusted twice
	}
	c.resolver.forget(host)
	return nil, false, context.DeadlineExceeded
}

// firstWait is how long to wait before the first retransmission: short
// deadlines leave time for one, too.
func (c *udpClient) firstWait(ctx context.Context) time.Duration {
	deadline, ok := ctx.Deadline()
	if !ok {
		return c.retry
	}
	return max(min(c.retry, time.Until(deadline)/3), time.Millisecond)
}

// isStale tells whether a tracker complains of the connection id.
func isStale(err error) bool {
	var refused *FailureError
	return errors.As(err, &refused) && strings.Contains(strings.ToLower(refused.Reason), "connection")
}

func familyError(f Family, err error) error {
	if noRoute(f, err) {
		return fmt.Errorf("%w: %w", ErrNoFamily, err)
	}
	return err
}

// socket returns the socket of an address's family.
func (c *udpClient) socket(a netip.Addr) (*udpSocket, error) {
	i := 0
	if a.Is6() {
		i = 1
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, ErrClosed
	}
	if s := c.sockets[i]; s != nil && !s.dead() {
		return s, nil
	}
	s, err := openUDP(a.Is6(), c.resolver.source)
	if err != nil {
		return nil, fmt.Errorf("opening a UDP socket: %w", err)
	}
	c.sockets[i] = s
	return s, nil
}

// close closes the sockets and waits for their readers.
func (c *udpClient) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	for _, s := range c.sockets {
		if s != nil {
			s.close()
		}
	}
}
