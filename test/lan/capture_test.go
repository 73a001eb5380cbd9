//go:build lan && linux

package lan

import (
	"bytes"
	"fmt"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"btd/test/netns"
)

// capture looks at every packet that crosses the bridge for words.
type capture struct {
	fd      int
	words   map[string][]byte
	done    sync.WaitGroup
	mu      sync.Mutex
	found   map[string]int // packets
	packets int
	bytes   int64
	err     error
}

// startCapture opens a packet socket on the hub, where the links of all hosts
// end.
func startCapture(t *testing.T, l *netns.Lab, words map[string][]byte) *capture {
	t.Helper()
	c := &capture{words: words, found: map[string]int{}}
	l.Must(l.Hub.NS.Do(func() (err error) {
		all := uint16(unix.ETH_P_ALL>>8 | unix.ETH_P_ALL<<8&0xff00)
		c.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, int(all))
		return err
	}))
	if unix.SetsockoptInt(c.fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 256<<20) != nil { // only the root of the machine may
		l.Must(unix.SetsockoptInt(c.fd, unix.SOL_SOCKET, unix.SO_RCVBUF, 256<<20))
	}
	tv := unix.NsecToTimeval(int64(100 * time.Millisecond))
	l.Must(unix.SetsockoptTimeval(c.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &tv))
	stop := make(chan struct{})
	c.done.Go(func() { c.run(stop) })
	t.Cleanup(func() {
		close(stop)
		c.done.Wait()
		unix.Close(c.fd)
	})
	return c
}

func (c *capture) run(stop <-chan struct{}) {
	buf := make([]byte, 256<<10)
	for {
		n, _, err := unix.Recvfrom(c.fd, buf, 0)
		switch {
		case err == unix.EAGAIN || err == unix.EINTR:
			select {
			case <-stop:
				return
			default:
				continue
			}
		case err != nil:
			c.mu.Lock()
			c.err = err
			c.mu.Unlock()
			return
		}
		c.mu.Lock()
		c.packets++
		c.bytes += int64(n)
		for name, w := range c.words {
			if bytes.Contains(buf[:n], w) {
				c.found[name]++
			}
		}
		c.mu.Unlock()
	}
}

// take is what was found since the last time, and how much was looked at.
func (c *capture) take() (found map[string]int, words string, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	stats, err := unix.GetsockoptTpacketStats(c.fd, unix.SOL_PACKET, unix.PACKET_STATISTICS)
	if err != nil {
		return nil, "", err
	}
	found, c.found = c.found, map[string]int{}
	words = fmt.Sprintf("%d packets of %d bytes looked at, %d missed", c.packets, c.bytes, stats.Drops)
	if c.packets == 0 {
		err = fmt.Errorf("no packet was seen")
	}
	c.packets, c.bytes = 0, 0
	if c.err != nil {
		err = c.err
	}
	return found, words, err
}
