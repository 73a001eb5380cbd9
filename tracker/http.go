package tracker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"time"
)

const (
	maxBody       = 2 << 20 // bytes of an answer, after decompression
	maxRedirects  = 5
	maxScrapeHTTP = 40 // hashes in one URL, which stays below 4 KiB
	dialTimeout   = 15 * time.Second
	idleTimeout   = 30 * time.Second // of a connection nobody uses
)

// newHTTP makes the HTTP client of one family. Connections are kept for
// reuse per family, because which family a request travels over is the point.
func (c *Client) newHTTP(f Family) *http.Client {
	return &http.Client{
		CheckRedirect: checkRedirect,
		Transport: &http.Transport{
			Proxy:                  c.cfg.Proxy,
			DialContext:            func(ctx context.Context, _, addr string) (net.Conn, error) { return c.dial(ctx, f, addr) },
			TLSClientConfig:        c.cfg.TLS,
			TLSHandshakeTimeout:    dialTimeout,
			MaxIdleConns:           64,
			MaxIdleConnsPerHost:    c.cfg.PerHost,
			MaxConnsPerHost:        c.cfg.PerHost,
			IdleConnTimeout:        idleTimeout,
			MaxResponseHeaderBytes: 64 << 10,
		},
	}
}

func checkRedirect(req *http.Request, via []*http.Request) error {
	if len(via) > maxRedirects {
		return &plainError{fmt.Sprintf("more than %d redirects", maxRedirects), ErrMalformed}
	}
	if req.URL.Scheme != "http" && req.URL.Scheme != "https" {
		return &plainError{"redirect to something other than http", ErrMalformed}
	}
	if loopbackHost(req.URL) && !loopbackHost(via[0].URL) {
		return &plainError{"redirect to this machine", ErrMalformed} // no tracker needs that, and it would reach local services
	}
	req.Header.Del("Referer") // it would show the announce URL, passkey and all, to another host
	return nil
}

func (c *Client) announceHTTP(ctx context.Context, u *url.URL, r Request) (Response, error) {
	body, status, err := c.get(ctx, withQuery(u, announceQuery(r)), r.Family)
	if err != nil {
		return Response{}, err
	}
	out, err := decodeAnnounce(body, c.cfg.MaxPeers)
	return out, statusError(status, err)
}

func (c *Client) scrapeHTTP(ctx context.Context, u *url.URL, hashes [][20]byte) ([]ScrapeResult, error) {
	body, status, err := c.get(ctx, withQuery(u, scrapeQuery(hashes)), Any)
	if err != nil {
		return nil, err
	}
	out, err := decodeScrape(body, hashes)
	return out, statusError(status, err)
}

// statusError decides what a bad status means: the tracker's own words win
// over the status, the status over words that make no sense.
func statusError(status int, err error) error {
	var refused *FailureError
	if status == http.StatusOK || errors.As(err, &refused) {
		return err
	}
	return &StatusError{status, http.StatusText(status)}
}

// get fetches a URL over one family.
func (c *Client) get(ctx context.Context, u *url.URL, f Family) (body []byte, status int, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, 0, fmt.Errorf("%w: cannot be requested", ErrURL)
	}
	req.Header.Set("User-Agent", c.cfg.UserAgent)
	proxy, err := c.cfg.Proxy(req)
	if err != nil {
		return nil, 0, fmt.Errorf("finding the proxy: %w", err)
	}
	if proxy != nil {
		if f == IPv6 { // the tracker sees the proxy's address, and once is enough
			return nil, 0, fmt.Errorf("%w: announces go through a proxy", ErrNoFamily)
		}
		f = Any
	}
	resp, err := c.http[f].Do(req)
	if err != nil {
		return nil, 0, err
	}
	defer resp.Body.Close()
	body, err = io.ReadAll(io.LimitReader(resp.Body, maxBody+1))
	if err != nil {
		return nil, 0, fmt.Errorf("reading the answer: %w", err)
	}
	if len(body) > maxBody {
		return nil, 0, fmt.Errorf("%w: it is larger than %d MiB", ErrMalformed, maxBody>>20)
	}
	return body, resp.StatusCode, nil
}

// dial connects to a tracker, or a proxy, over one family. The http package
// lets dials outlive the request they were made for, so each is registered.
func (c *Client) dial(ctx context.Context, f Family, addr string) (net.Conn, error) {
	ctx, end, err := c.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer end()
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, fmt.Errorf("%w: bad address", ErrURL)
	}
	conn, err := c.dialHost(ctx, f, host, port)
	if err != nil {
		return nil, err
	}
	return c.track(conn)
}

func (c *Client) dialHost(ctx context.Context, f Family, host, port string) (net.Conn, error) {
	addrs, err := c.resolver.addrs(ctx, host, f)
	if err != nil {
		return nil, err
	}
	var firstErr error
	for i, a := range addrs {
		dialer := net.Dialer{Timeout: shareOf(ctx, len(addrs)-i)}
		if src := c.cfg.Source.Unmap(); src.IsValid() {
			dialer.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(src, 0))
		}
		conn, err := dialer.DialContext(ctx, "tcp", net.JoinHostPort(a.String(), port))
		if err == nil {
			return conn, nil
		}
		if firstErr == nil || noRoute(f, firstErr) {
			firstErr = err
		}
	}
	c.resolver.forget(host)
	if noRoute(f, firstErr) {
		return nil, fmt.Errorf("%w: %w", ErrNoFamily, firstErr)
	}
	return nil, firstErr
}

// shareOf divides the time that is left among n attempts.
func shareOf(ctx context.Context, n int) time.Duration {
	deadline, ok := ctx.Deadline()
	if !ok {
		return dialTimeout
	}
	return max(time.Until(deadline)/time.Duration(n), time.Millisecond)
}

// track remembers a connection until it is closed.
func (c *Client) track(conn net.Conn) (net.Conn, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		conn.Close()
		return nil, ErrClosed
	}
	t := &trackedConn{Conn: conn, client: c}
	c.conns[t] = struct{}{}
	return t, nil
}

// trackedConn tells the client when it is closed.
type trackedConn struct {
	net.Conn
	client *Client
}

func (t *trackedConn) Close() error {
	t.client.mu.Lock()
	delete(t.client.conns, t)
	t.client.mu.Unlock()
	return t.Conn.Close()
}
