package peerwire

import (
	"math/rand/v2"
	"strconv"
)

const alphanumeric = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

// PeerID makes a peer id of ours: "-BD", the first four numbers of version
// as one digit or letter each (10 is A, from 35 on Z), "-", and 12 random
// letters and digits.
func PeerID(version string, rng *rand.Rand) (id [20]byte) {
	copy(id[:], "-BD0000-")
	for i, n := range versionNumbers(version) {
		id[3+i] = alphanumeric[min(n, 35)]
	}
	for i := 8; i < len(id); i++ {
		id[i] = alphanumeric[rng.IntN(len(alphanumeric))]
	}
	return id
}

// versionNumbers is the first four numbers in a version such as "v1.2.3".
func versionNumbers(version string) (v [4]int) {
	at := 0
	for i := 0; i < len(version) && at < len(v); {
		j := i
		for j < len(version) && '0' <= version[j] && version[j] <= '9' {
			j++
		}
		if j == i {
			if c := version[i]; c == '-' || c == '+' {
				break // a pre-release or build follows
			}
			i++
			continue
		}
		n, err := strconv.Atoi(version[i:j])
		if err != nil {
			n = 35
		}
		v[at] = n
		at++
		i = j
	}
	return v
}
