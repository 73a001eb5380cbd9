package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// maxAnswer bounds the answers that the client reads, in bytes: the list of
// 100,000 torrents is about 90 MB.
const maxAnswer = 512 << 20

// Config says where the daemon is. The zero value is the default socket.
type Config struct {
	Address string        // unix:///path, a plain path, or http://host:port; "" is DefaultSocket
	Token   string        // bearer token, needed for http:// only
	Timeout time.Duration // of one request; 0 is 30 s, negative is none. Event streams have none
}

func (c Config) withDefaults() Config {
	if c.Address == "" {
		c.Address = DefaultSocket()
	}
	if c.Timeout == 0 {
		c.Timeout = 30 * time.Second
	}
	return c
}

// Client talks to one daemon. It is safe for concurrent use.
type Client struct {
	cfg  Config
	base string // scheme and host of the URLs
	http *http.Client
}

// New makes a client. Nothing is sent yet.
func New(cfg Config) (*Client, error) {
	cfg = cfg.withDefaults()
	network, address, err := ParseAddress(cfg.Address)
	if err != nil {
		return nil, err
	}
	base := "http://btd" // the unix socket's server does not look at the host
	if network == "tcp" {
		base = "http://" + address
	}
	dialer := net.Dialer{Timeout: 5 * time.Second}
	tr := &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			conn, err := dialer.DialContext(ctx, network, address)
			if err != nil && ctx.Err() == nil {
				return nil, &ConnectError{Address: cfg.Address, Err: err}
			}
			return conn, err
		},
		DisableCompression: true,
		MaxIdleConns:       4,
		IdleConnTimeout:    30 * time.Second,
	}
	return &Client{
		cfg:  cfg,
		base: base,
		http: &http.Client{Transport: tr, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }},
	}, nil
}

// ParseAddress splits an API address into what net.Dial takes: "unix" and a
// path, or "tcp" and host:port.
func ParseAddress(s string) (network, address string, err error) {
	switch {
	case strings.HasPrefix(s, "unix:"):
		path := strings.TrimPrefix(strings.TrimPrefix(s, "unix:"), "//")
		if path == "" {
			return "", "", fmt.Errorf("API address %q has no path, want unix:///run/btd/btd.sock", s)
		}
		return "unix", path, nil
	case strings.HasPrefix(s, "http://"):
		u, err := url.Parse(s)
		if err != nil || u.Hostname() == "" || u.User != nil || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "" {
			return "", "", fmt.Errorf("API address %q is not like http://127.0.0.1:9091", s)
		}
		port := u.Port()
		if port == "" {
			port = "80"
		}
		return "tcp", net.JoinHostPort(u.Hostname(), port), nil
	case strings.Contains(s, "://"):
		return "", "", fmt.Errorf("API address %q begins with neither unix:// nor http://", s)
	case s == "":
		return "", "", errors.New("the API address is empty")
	}
	return "unix", s, nil
}

// Address is where the client looks for the daemon.
func (c *Client) Address() string { return c.cfg.Address }

// Close drops idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Get asks for a path below the address, such as "/v1/torrents", and returns
// the answer's JSON as it came.
func (c *Client) Get(ctx context.Context, path string) (json.RawMessage, error) {
	return c.raw(ctx, http.MethodGet, path, nil)
}

// call sends in as JSON (nil: no body) and decodes the answer into out (nil:
// the answer's body does not matter).
func (c *Client) call(ctx context.Context, method, path string, in, out any) error {
	body, err := c.raw(ctx, method, path, in)
	if err != nil || out == nil {
		return err
	}
	if err := json.Unmarshal(body, out); err != nil {
		return fmt.Errorf("decode the daemon's answer to %s %s: %w", method, path, err)
	}
	return nil
}

func (c *Client) raw(ctx context.Context, method, path string, in any) (json.RawMessage, error) {
	if c.cfg.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, c.cfg.Timeout)
		defer cancel()
	}
	var body []byte
	if in != nil {
		var err error
		if body, err = json.Marshal(in); err != nil {
			return nil, fmt.Errorf("encode a request: %w", err)
		}
	}
	resp, err := c.send(ctx, method, path, body)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode/100 != 2 {
		return nil, answerError(resp)
	}
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("read the daemon's answer: %w", cause(err))
	case len(b) > maxAnswer:
		return nil, fmt.Errorf("read the daemon's answer: more than %d bytes", maxAnswer)
	}
	return b, nil
}

func (c *Client) send(ctx context.Context, method, path string, body []byte) (*http.Response, error) {
	var r io.Reader
	if body != nil {
		r = bytes.NewReader(body)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, r)
	if err != nil {
		return nil, fmt.Errorf("make a request: %w", err)
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if c.cfg.Token != "" {
		req.Header.Set("Authorization", "Bearer "+c.cfg.Token)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", method, path, cause(err))
	}
	return resp, nil
}

// cause takes off the wrapping of net/http, whose text repeats the URL.
func cause(err error) error {
	var ce *ConnectError
	var ue *url.Error
	switch {
	case errors.As(err, &ce):
		return ce
	case errors.As(err, &ue):
		return ue.Err
	}
	return err
}

// answerError makes an Error of an answer that is not a success, even if it
// comes from a server that is not btd.
func answerError(resp *http.Response) error {
	var e ErrorResponse
	b, _ := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	if json.Unmarshal(b, &e) != nil || e.Error.Code == "" {
		e.Error = Error{Code: CodeInternal, Message: "not an answer of btd: HTTP " + resp.Status}
	}
	e.Error.Status = resp.StatusCode
	return &e.Error
}
