//go:build lan && linux

package lan

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"btd/metainfo"
	"btd/test/netns"
)

// marker is in every KiB of what is captured.
const marker = "<< this is what the files hold >>"

// marked writes a file of n bytes that is full of the marker.
func marked(dir, name string, n int) (string, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	path := filepath.Join(dir, name)
	b := bytes.Repeat([]byte(marker), n/len(marker)+1)[:n]
	for i := 0; i+16 <= n; i += 1024 { // no two pieces are alike
		copy(b[i:], fmt.Sprintf("%016d", i))
	}
	return path, os.WriteFile(path, b, 0o644)
}

// TestStrangersLearnNothing has a ninth host try to get what eight others
// share with a secret, and looks at all that crosses the network.
func TestStrangersLearnNothing(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	s := newSwarm(ctx, t, speed, 16<<20, "--secret")
	path, err := marked(filepath.Join(s.first.Dir, "more"), "salaries-of-all.txt", 12<<20+345)
	s.Must(err)
	out, err := s.first.btctl(ctx, "share", "--secret", path)
	s.Must(err)
	line := strings.TrimSpace(out)
	link, err := metainfo.ParseMagnet(line)
	s.Must(err)
	if link.Secret.IsZero() {
		t.Fatalf("the line of a closed swarm has no secret: %d characters", len(line))
	}
	wire, id := link.Hash.Wire(), link.Hash.String()
	words := map[string][]byte{
		"the info-hash": wire[:], "the info-hash in hex": []byte(id), "the info-hash in capitals": []byte(strings.ToUpper(id)),
		"the file's name": []byte("salaries-of-all"), "payload": []byte(marker), "the secret": link.Secret[:], "the secret's text": []byte(link.Secret.String()),
	}
	c := startCapture(t, s.Lab, words)

	// It takes half a minute to give up, and says nothing of the torrent in the open.
	ninth := s.machine(ctx, "ninth")
	other := *link
	for i := range other.Secret {
		other.Secret[i] ^= byte(0x5a + i)
	}
	lonely := make(chan error, 1)
	go func() {
		_, err := ninth.btctl(ctx, "join", "--wait", other.String())
		lonely <- err
	}()

	s.line = line
	_, failed := s.join(ctx, s.others[:4])
	s.Must(errors.Join(failed...))
	for _, m := range s.others[:4] {
		s.Must(netns.SameFile(path, filepath.Join(m.downloads(), filepath.Base(path))))
	}
	found, looked, err := c.take()
	s.Must(err)
	t.Log("four members: ", looked)
	for name, n := range found {
		t.Errorf("%s is in %d packets", name, n)
	}

	bare, _, _ := strings.Cut(line, "#")
	s.stranger(ctx, s.machine(ctx, "tenth"), bare, link)
	s.stranger(ctx, ninth, other.String(), link)
	if err := <-lonely; err == nil || !strings.Contains(err.Error(), "does not know this torrent") {
		t.Errorf("joining with another secret: %v", err)
	}
	found, looked, err = c.take()
	s.Must(err)
	t.Log("a stranger: ", looked)
	for name, n := range found {
		if !strings.HasPrefix(name, "the info-hash") { // which the stranger says
			t.Errorf("%s is in %d packets", name, n)
		}
	}

	// The same without a secret is seen: so this test can fail.
	plain, err := marked(filepath.Join(s.first.Dir, "plain"), "salaries-of-all.txt", 2<<20)
	s.Must(err)
	out, err = s.first.btctl(ctx, "share", plain)
	s.Must(err)
	s.line = strings.TrimSpace(out)
	_, failed = s.join(ctx, s.others[4:5])
	s.Must(errors.Join(failed...))
	found, looked, err = c.take()
	s.Must(err)
	t.Logf("without a secret: %v; %s", found, looked)
	for _, name := range []string{"the file's name", "payload"} {
		if found[name] == 0 {
			t.Errorf("%s is not seen where there is no secret: the capture does not work", name)
		}
	}
}

// stranger does on a host that has not got the secret what its owner could do
// with a line that has another secret, or none.
func (s *swarm) stranger(ctx context.Context, m *machine, line string, link *metainfo.Magnet) {
	t := s.T
	t.Helper()
	_, err := m.btctl(ctx, "add", line, "--peer", netip.AddrPortFrom(s.first.IP4, 6881).String())
	s.Must(err)
	s.Must(netns.Poll(ctx, 100*time.Millisecond, "the first host's log says why "+m.Name+" was refused", func() (bool, error) {
		return s.first.says("did not prove the secret", "peer="+m.IP4.String()+" ")
	}))
	for _, h := range []metainfo.Hash{link.Hash, link.Secret.Mask(link.Hash)} {
		resp, err := m.HTTP().Get("http://" + netip.AddrPortFrom(s.first.IP4, 6969).String() + "/t/" + h.String() + ".torrent")
		s.Must(err)
		resp.Body.Close()
		if resp.StatusCode != http.StatusNotFound {
			t.Errorf("the tracker answers %s to who asks for the .torrent", resp.Status)
		}
	}
	got, err := m.api.Torrent(ctx, link.Hash.String())
	s.Must(err)
	if got.Metadata == nil || got.Metadata.Have > 0 || got.Metadata.Sources > 0 || got.Downloaded > 0 {
		t.Errorf("%s got %+v", m.Name, got)
	}
}
