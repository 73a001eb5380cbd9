//go:build interop && linux

package interop

import (
	"bytes"
	"context"
	"encoding/xml"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"btd/test/netns"
)

// rtorrent drives rtorrent in daemon mode: XML-RPC in SCGI over a unix
// socket.
type rtorrent struct {
	host    *netns.Host
	process *netns.Process
	socket  string
	joined
}

func newRtorrent(h *netns.Host) program { return &rtorrent{host: h} }

func (c *rtorrent) start(ctx context.Context) error {
	session := filepath.Join(c.host.Dir, "session")
	c.socket = filepath.Join(c.host.Dir, "rpc.sock")
	if _, err := c.host.Write("session/.keep", ""); err != nil {
		return err
	}
	mode := "disable"
	if c.on {
		mode = "on"
	}
	rc, err := c.host.Write("rtorrent.rc", strings.Join([]string{
		"system.daemon.set = true",
		"network.scgi.open_local = " + c.socket,
		"session.path.set = " + session,
		"directory.default.set = " + c.host.Dir,
		fmt.Sprintf("network.port_range.set = %d-%d", peerPort, peerPort),
		"network.port_random.set = no",
		"network.bind_address.set = " + c.host.IP4.String(),
		"network.local_address.set = " + c.host.IP4.String(),
		"dht.mode.set = " + mode,
		fmt.Sprintf("dht.port.set = %d", dhtPort),
		"protocol.pex.set = no",
		"trackers.use_udp.set = yes",
		"pieces.hash.on_completion.set = yes",
		"",
	}, "\n"))
	if err != nil {
		return err
	}
	c.process, err = c.host.Start("rtorrent", netns.Command{Argv: []string{"rtorrent", "-n", "-o", "import=" + rc}})
	if err != nil {
		return err
	}
	err = netns.Up(ctx, c.process, func() error {
		_, err := c.rpc(ctx, "system.client_version")
		return err
	})
	for _, n := range c.nodes {
		if err == nil {
			_, err = c.rpc(ctx, "dht.add_node", "", n.String())
		}
	}
	return err
}

// rpc calls a method with string parameters and returns the one scalar of the
// answer as text.
func (c *rtorrent) rpc(ctx context.Context, method string, params ...string) (string, error) {
	var body bytes.Buffer
	fmt.Fprintf(&body, `<?xml version="1.0"?><methodCall><methodName>%s</methodName><params>`, method)
	for _, p := range params {
		body.WriteString("<param><value><string>")
		_ = xml.EscapeText(&body, []byte(p))
		body.WriteString("</string></value></param>")
	}
	body.WriteString("</params></methodCall>")
	header := fmt.Sprintf("CONTENT_LENGTH\x00%d\x00SCGI\x001\x00REQUEST_METHOD\x00POST\x00", body.Len())

	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", c.socket)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(time.Minute))
	if _, err := fmt.Fprintf(conn, "%d:%s,%s", len(header), header, body.Bytes()); err != nil {
		return "", err
	}
	raw, err := io.ReadAll(conn)
	if err != nil {
		return "", err
	}
	at := bytes.Index(raw, []byte("<?xml"))
	if at < 0 {
		return "", fmt.Errorf("rtorrent: %s: no XML: %.200q", method, raw)
	}
	return scalar(method, raw[at:])
}

// scalar takes the first value of an XML-RPC answer.
func scalar(method string, raw []byte) (string, error) {
	dec := xml.NewDecoder(bytes.NewReader(raw))
	text := ""
	for {
		tok, err := dec.Token()
		if err != nil {
			return "", fmt.Errorf("rtorrent: %s: %w", method, err)
		}
		switch tok := tok.(type) {
		case xml.CharData:
			text = string(tok)
		case xml.StartElement:
			text = ""
			if tok.Name.Local == "fault" {
				return "", fmt.Errorf("rtorrent: %s: %s", method, raw)
			}
		case xml.EndElement:
			switch tok.Name.Local {
			case "string", "i4", "i8", "int":
				return text, nil
			}
		}
	}
}

func (c *rtorrent) leech(ctx context.Context, t *torrent, dir string) error {
	_, err := c.rpc(ctx, "load.start", "", t.path, fmt.Sprintf("d.directory.set=%q", dir))
	return err
}

func (c *rtorrent) leechMagnet(ctx context.Context, _ *torrent, link, dir string) error {
	_, err := c.rpc(ctx, "load.start", "", link, fmt.Sprintf("d.directory.set=%q", dir))
	return err
}

func (c *rtorrent) seed(ctx context.Context, t *torrent, dir string) error {
	if err := c.leech(ctx, t, dir); err != nil {
		return err
	}
	return waitDone(ctx, c, t, "rtorrent seeds")
}

func (c *rtorrent) number(ctx context.Context, method string, t *torrent) (int64, error) {
	s, err := c.rpc(ctx, method, strings.ToUpper(t.hex()))
	if err != nil {
		return 0, err
	}
	return strconv.ParseInt(s, 10, 64)
}

func (c *rtorrent) done(ctx context.Context, t *torrent) (bool, error) {
	if err := c.process.Alive(); err != nil {
		return false, err
	}
	for method, want := range map[string]int64{"d.complete": 1, "d.hashing": 0, "d.is_active": 1} {
		got, err := c.number(ctx, method, t)
		if err != nil {
			if strings.Contains(err.Error(), "info-hash") {
				return false, nil // still loading
			}
			return false, err
		}
		if got != want {
			return false, nil
		}
	}
	return true, nil
}

func (c *rtorrent) uploaded(ctx context.Context, t *torrent) (int64, error) {
	return c.number(ctx, "d.up.total", t)
}

func (c *rtorrent) stop(context.Context) error {
	_, err := c.process.Terminate(time.Minute)
	return err
}
