package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"syscall"
	"time"

	"btd/metainfo"
)

const (
	fetchTime   = 30 * time.Second // to fetch a .torrent file
	fetchHeader = 16 << 10         // bytes of an answer's header
)

// errOutside means that an address is not in a private network.
var errOutside = errors.New("it is not in a private network: --force asks all the same")

// fetch gets the .torrent file that the address of a line names. Of what comes
// only what is hashed is used: the torrent's one tracker is the one that served
// it.
func fetch(ctx context.Context, line string, anywhere bool) ([]byte, error) {
	u, want, err := parseAddress(line)
	if err != nil {
		return nil, err
	}
	b, err := get(ctx, u.String(), anywhere)
	if err != nil {
		var outer *url.Error
		if errors.As(err, &outer) {
			err = outer.Err
		}
		var dial *net.OpError
		if errors.As(err, &dial) && !errors.Is(err, errOutside) {
			err = fmt.Errorf("%w\nIs the machine up, and the port open?", err)
		}
		return nil, fmt.Errorf("asking %s for the torrent: %w", u.Host, err)
	}
	m, err := metainfo.Parse(b)
	if err != nil {
		return nil, fmt.Errorf("what %s sent is no .torrent file: %w", u.Host, err)
	}
	if m.Hash.Wire() != want.Wire() {
		return nil, fmt.Errorf("%s sent another torrent (%v) than the line names", u.Host, m.Hash)
	}
	bare := metainfo.Metainfo{Info: m.Info, Raw: m.Raw, Trackers: [][]string{{"http://" + u.Host + "/announce"}}}
	return bare.Bytes(), nil
}

// parseAddress checks the address of a .torrent file at a daemon's tracker:
// http://HOST:PORT/t/HASH.torrent?scope=lan. The scope is its end: one that has
// none was cut off.
func parseAddress(line string) (*url.URL, metainfo.Hash, error) {
	const whole = "\nIs the line whole, as btctl share has printed it?"
	u, err := url.Parse(line)
	if err != nil || u.Host == "" || u.User != nil || u.Fragment != "" {
		return nil, metainfo.Hash{}, usagef("this is no address of a .torrent file.%s", whole)
	}
	name, ok := strings.CutPrefix(u.Path, "/t/")
	if ok {
		name, ok = strings.CutSuffix(name, ".torrent")
	}
	hash, err := metainfo.ParseHash(name)
	switch {
	case !ok || err != nil:
		return nil, hash, usagef("the address does not end in /t/, 40 hexadecimal digits, .torrent?scope=lan.%s", whole)
	case u.RawQuery != "scope="+metainfo.ScopeLAN.String():
		return nil, hash, usagef("the address does not end in ?scope=lan.%s", whole)
	}
	return u, hash, nil
}

// get asks one server, and no other that it may point to.
func get(ctx context.Context, address string, anywhere bool) ([]byte, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, fetchTime, fmt.Errorf("no answer within %v", fetchTime))
	defer cancel()
	d := net.Dialer{Control: func(_, address string, _ syscall.RawConn) error {
		if a, err := netip.ParseAddrPort(address); !anywhere && (err != nil || !metainfo.ScopeLAN.Covers(a.Addr())) {
			return errOutside
		}
		return nil
	}}
	tr := &http.Transport{DialContext: d.DialContext, DisableKeepAlives: true, MaxResponseHeaderBytes: fetchHeader}
	c := http.Client{Transport: tr, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	resp, err := c.Do(req)
	if err != nil {
		return nil, errors.Join(err, context.Cause(ctx))
	}
	defer resp.Body.Close()
	switch {
	case resp.StatusCode == http.StatusNotFound:
		return nil, errors.New("it does not share this torrent, or the torrent has a secret (then only the magnet link leads to it)")
	case resp.StatusCode/100 == 3:
		return nil, errors.New("it points elsewhere, which is not followed")
	case resp.StatusCode != http.StatusOK:
		return nil, fmt.Errorf("HTTP status %s", resp.Status)
	}
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxFile+1))
	switch {
	case err != nil:
		return nil, errors.Join(err, context.Cause(ctx))
	case len(b) > maxFile:
		return nil, fmt.Errorf("it sends more than %s: that is no .torrent file", bytesText(maxFile))
	}
	return b, nil
}
