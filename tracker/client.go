package tracker

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"time"
)

// Config holds the client's settings. The zero value is valid.
type Config struct {
	UserAgent string                                // "" means "btd"
	Timeout   time.Duration                         // of one request, from the moment it is sent; 0 means 45 s
	UDPRetry  time.Duration                         // first retransmission (BEP 15), doubled each time; 0 means 15 s
	PerHost   int                                   // requests in flight to one host; 0 means 8
	MaxPeers  int                                   // addresses taken from one answer; 0 means 2,000
	TLS       *tls.Config                           // nil means the system's roots
	Proxy     func(*http.Request) (*url.URL, error) // for http and https; nil means HTTP_PROXY, HTTPS_PROXY and NO_PROXY; udp goes direct
	Lookup    LookupFunc                            // nil means the system's resolver
	Source    netip.Addr                            // the local address that requests leave from, whose family is then the only one; invalid means any
}

func (c Config) withDefaults() Config {
	if c.UserAgent == "" {
		c.UserAgent = "btd"
	}
	if c.Timeout <= 0 {
		c.Timeout = 45 * time.Second
	}
	if c.UDPRetry <= 0 {
		c.UDPRetry = 15 * time.Second
	}
	if c.PerHost <= 0 {
		c.PerHost = 8
	}
	if c.MaxPeers <= 0 {
		c.MaxPeers = 2000
	}
	if c.Proxy == nil {
		c.Proxy = http.ProxyFromEnvironment
	}
	return c
}

// Client sends announces and scrapes. It is safe for concurrent use: every
// torrent of a session shares one, so that connections are reused and the
// limit of requests in flight to one host means something.
type Client struct {
	cfg      Config
	gate     *gate
	resolver *resolver
	http     [3]*http.Client // by Family
	udp      *udpClient

	mu     sync.Mutex
	closed bool
	serial uint64
	cancel map[uint64]context.CancelCauseFunc // requests and dials under way
	conns  map[net.Conn]struct{}              // open TCP connections
	wg     sync.WaitGroup                     // the requests and dials in cancel
}

// NewClient makes a client. It opens no socket before the first request.
func NewClient(cfg Config) *Client {
	c := &Client{
		cfg:    cfg.withDefaults(),
		cancel: make(map[uint64]context.CancelCauseFunc),
		conns:  make(map[net.Conn]struct{}),
	}
	c.gate = newGate(c.cfg.PerHost)
	c.resolver = newResolver(c.cfg.Lookup, c.cfg.Source.Unmap())
	c.udp = newUDPClient(c.cfg, c.resolver)
	for f := range c.http {
		c.http[f] = c.newHTTP(Family(f))
	}
	return c
}

// Announce asks a tracker for peers over one address family. It waits for a
// turn at the tracker's host as long as ctx allows; from then on it takes at
// most Config.Timeout. Errors of note: *FailureError, *StatusError,
// ErrNoFamily, ErrMalformed, ErrURL.
func (c *Client) Announce(ctx context.Context, r Request) (Response, error) {
	u, err := parseURL(r.URL)
	if err != nil {
		return Response{}, err
	}
	var out Response
	err = c.request(ctx, u, r.Family, r.Event == Stopped, func(ctx context.Context) error {
		if u.Scheme == "udp" {
			out, err = c.udp.announce(ctx, u, r)
		} else {
			out, err = c.announceHTTP(ctx, u, r)
		}
		return err
	})
	return out, err
}

// Scrape asks a tracker for the number of peers of some torrents; out[i]
// belongs to hashes[i]. It takes several requests if there are many, and with an
// error there is what came before it. ErrNoScrape: its URL does not allow that.
func (c *Client) Scrape(ctx context.Context, announceURL string, hashes [][20]byte) ([]ScrapeResult, error) {
	u, err := parseURL(announceURL)
	if err != nil {
		return nil, err
	}
	step := maxScrapeUDP
	if u.Scheme != "udp" {
		step = maxScrapeHTTP
		if u, err = scrapeURL(u); err != nil {
			return nil, err
		}
	}
	out := make([]ScrapeResult, 0, len(hashes))
	for len(hashes) > 0 {
		part := hashes[:min(step, len(hashes))]
		hashes = hashes[len(part):]
		err := c.request(ctx, u, Any, false, func(ctx context.Context) error {
			var some []ScrapeResult
			if u.Scheme == "udp" {
				some, err = c.udp.scrape(ctx, u, part)
			} else {
				some, err = c.scrapeHTTP(ctx, u, part)
			}
			if err == nil {
				out = append(out, some...)
			}
			return err
		})
		if err != nil {
			return out, err
		}
	}
	return out, nil
}

// request runs do when it is its turn.
func (c *Client) request(ctx context.Context, u *url.URL, f Family, urgent bool, do func(context.Context) error) error {
	ctx, end, err := c.begin(ctx)
	if err != nil {
		return err
	}
	defer end()
	host := strings.ToLower(u.Hostname())
	turn, err := c.gate.enter(ctx, host, fmt.Sprintf("%s %s %d", u.Scheme, strings.ToLower(u.Host), f), urgent)
	if err != nil {
		return c.reason(ctx, err)
	}
	started := time.Now()
	limited, cancel := context.WithTimeout(ctx, c.cfg.Timeout)
	defer cancel()
	err = do(limited)
	if err != nil {
		err = c.reason(ctx, explain(err, time.Since(started)))
	}
	c.gate.leave(turn, err, ctx.Err() == nil)
	return err
}

// reason prefers ErrClosed to what closing made of a request.
func (c *Client) reason(ctx context.Context, err error) error {
	if context.Cause(ctx) == ErrClosed {
		return ErrClosed
	}
	return err
}

// begin registers something that Close must end and wait for.
func (c *Client) begin(ctx context.Context) (context.Context, func(), error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, nil, ErrClosed
	}
	ctx, cancel := context.WithCancelCause(ctx)
	c.serial++
	id := c.serial
	c.cancel[id] = cancel
	c.wg.Add(1)
	return ctx, func() {
		cancel(nil)
		c.mu.Lock()
		delete(c.cancel, id)
		c.mu.Unlock()
		c.wg.Done()
	}, nil
}

// Close ends all requests, waits for them and closes every socket.
func (c *Client) Close() {
	c.mu.Lock()
	c.closed = true
	for _, cancel := range c.cancel {
		cancel(ErrClosed)
	}
	c.mu.Unlock()
	c.wg.Wait()
	for _, h := range c.http {
		h.CloseIdleConnections()
	}
	c.mu.Lock()
	open := make([]net.Conn, 0, len(c.conns))
	for conn := range c.conns {
		open = append(open, conn)
	}
	c.mu.Unlock()
	for _, conn := range open {
		conn.Close()
	}
	c.udp.close()
}
