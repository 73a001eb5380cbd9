package secure

import (
	"crypto/hmac"
	"slices"
	"sync"

	"btd/metainfo"
)

// ringStep is the number of keys of which a multiple is compared with each
// proof, whatever the number of secrets: time must not tell whether there are
// any.
const ringStep = 16

// Ring holds the secrets that an Endpoint accepts. The zero value holds none. It
// may be used from any goroutine.
type Ring struct {
	mu   sync.Mutex
	uses map[metainfo.Secret]int
	all  []keys // replaced on change, never changed
}

// Add takes a secret in. Each Add needs a Remove of its own.
func (r *Ring) Add(s metainfo.Secret) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.uses[s] == 0 {
		k, err := newKeys(s)
		if err != nil {
			return err
		}
		r.all = append(slices.Clip(r.all), k)
	}
	if r.uses == nil {
		r.uses = map[metainfo.Secret]int{}
	}
	r.uses[s]++
	return nil
}

// Remove undoes one Add.
func (r *Ring) Remove(s metainfo.Secret) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch r.uses[s] {
	case 0:
	case 1:
		delete(r.uses, s)
		r.all = slices.DeleteFunc(slices.Clone(r.all), func(k keys) bool { return k.secret == s })
	default:
		r.uses[s]--
	}
}

// Len is the number of different secrets.
func (r *Ring) Len() int { return len(r.snapshot()) }

func (r *Ring) snapshot() []keys {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.all
}

// find looks for the secret that a client's proof is of. It takes as long
// whether it finds one or not.
func (r *Ring) find(proof, exporter []byte) (keys, bool) {
	all := r.snapshot()
	var found keys
	var ok bool
	var decoy keys
	for i := range roundUp(len(all) + 1) {
		k := &decoy
		if i < len(all) {
			k = &all[i]
		}
		want := prove(&k.client, exporter)
		if hmac.Equal(want[:], proof) && i < len(all) {
			found, ok = *k, true
		}
	}
	return found, ok
}

func roundUp(n int) int { return (n + ringStep - 1) / ringStep * ringStep }
