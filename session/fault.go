package session

import (
	"errors"
	"net/netip"
	"syscall"

	"btd/session/addrbook"
)

// reason says what a dial that came to nothing means for the address.
func (u *undialed) reason() addrbook.Reason {
	if ourFault(u.addr.Addr(), u.err) {
		return addrbook.Ours
	}
	return reasonOf(u.err)
}

// ourFault tells whether a dial failed here, or on the way out: the network is
// down, it has no way there, or no socket is left. In a local network a host
// that cannot be reached is one that is switched off; elsewhere it is most often
// our own router that is. The numbers are the Windows Sockets codes, which no
// other system uses.
func ourFault(to netip.Addr, err error) bool {
	const wsaAccess, wsaTooMany, wsaNoFamily, wsaNotAvail, wsaNetDown, wsaNetUnreach, wsaNoBuffers, wsaHostUnreach = 10013, 10024, 10047, 10049, 10050, 10051, 10055, 10065
	var errno syscall.Errno
	if !errors.As(err, &errno) {
		return false
	}
	switch errno {
	case syscall.ENETUNREACH, syscall.ENETDOWN, syscall.EADDRNOTAVAIL, syscall.EAFNOSUPPORT, syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.EPERM, syscall.EACCES,
		wsaAccess, wsaTooMany, wsaNoFamily, wsaNotAvail, wsaNetDown, wsaNetUnreach, wsaNoBuffers:
		return true
	case syscall.EHOSTUNREACH, wsaHostUnreach:
		return !isLocal(to)
	}
	return false
}
