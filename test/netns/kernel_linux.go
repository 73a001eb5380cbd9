package netns

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// Lack says why no network can be made here: for want of rights, or of
// something in the kernel, in which case a test has to be skipped. It is "" if
// nothing is missing. An error is anything else that is in the way.
func Lack() (why string, err error) { return lack() }

var lack = sync.OnceValues(func() (string, error) {
	if os.Geteuid() != 0 {
		return "needs root, to make network namespaces", nil
	}
	ns, err := New()
	switch {
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.ENOSYS), errors.Is(err, unix.EINVAL), errors.Is(err, unix.ENOSPC):
		return "no network namespaces here: " + err.Error(), nil
	case err != nil:
		return "", err
	}
	defer ns.Close()
	for _, x := range []struct{ what, command string }{
		{"bridges", "link add br0 type bridge"},
		{"pairs of virtual links", "link add v0 type veth peer name v1"},
	} {
		if err := ns.Do(func() error { return IP(x.command) }); unsupported(err) {
			return fmt.Sprintf("this kernel has no %s: %v", x.what, err), nil
		} else if err != nil {
			return "", err
		}
	}
	return "", nil
})

// unsupported tells whether ip(8) or tc(8) says that the kernel has not got
// something, or does not let us have it.
func unsupported(err error) bool {
	if err == nil {
		return false
	}
	for _, s := range []string{"not supported", "not permitted", "nknown device type", "qdisc kind is unknown", "qdisc not found"} {
		if strings.Contains(err.Error(), s) {
			return true
		}
	}
	return false
}

// LackOfIPv6 says why hosts have no IPv6 addresses, "" if they have.
func LackOfIPv6() string { return lackOfIPv6() }

var lackOfIPv6 = sync.OnceValue(func() string {
	ns, err := New()
	if err != nil {
		return err.Error()
	}
	defer ns.Close()
	err = ns.Do(func() error { return IP("addr add fd00:77::1/128 dev lo nodad") })
	if err != nil && (unsupported(err) || strings.Contains(err.Error(), "ermission denied") || strings.Contains(err.Error(), "is disabled")) {
		return "this kernel has no IPv6: " + err.Error()
	}
	return "" // or something is wrong, which the making of a network will say
})

// allowIPv6 turns IPv6 on in the namespace of the current thread, where new
// namespaces begin with what a machine has turned off for itself.
func allowIPv6() {
	for _, dev := range []string{"all", "default", "lo"} {
		path := "/proc/sys/net/ipv6/conf/" + dev + "/disable_ipv6"
		if b, err := os.ReadFile(path); err == nil && strings.TrimSpace(string(b)) != "0" {
			_ = os.WriteFile(path, []byte("0"), 0o644) // LackOfIPv6 finds out
		}
	}
}

// LackOfShaping says what the kernel lacks to shape links, "" if nothing. An
// error is anything else that is in the way.
func LackOfShaping() (why string, err error) {
	ns, err := New()
	if err != nil {
		return "", err
	}
	defer ns.Close()
	err = ns.Do(func() error {
		return batch("tc", []string{"qdisc add dev lo root tbf rate 200mbit burst 80kb latency 20ms"})
	})
	if unsupported(err) {
		return "this kernel can't shape links: " + err.Error(), nil
	}
	return "", err
}

// HasNetem tells whether the kernel can delay packets.
func HasNetem() bool { return hasNetem() }

var hasNetem = sync.OnceValue(func() bool {
	ns, err := New()
	if err != nil {
		return false
	}
	defer ns.Close()
	return ns.Do(func() error { return batch("tc", []string{"qdisc add dev lo root netem delay 1ms"}) }) == nil
})
