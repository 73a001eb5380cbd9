package main

import (
	"crypto/ed25519"
	"crypto/sha1"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"btd/api/client"
	"btd/metainfo"
)

// maxSalt is how many bytes a salt has at most (BEP 44).
const maxSalt = 64

// loadKey reads a private key.
func loadKey(path string) (ed25519.PrivateKey, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read the key: %w", err)
	}
	seed, err := hex.DecodeString(strings.TrimSpace(string(b)))
	if err != nil || len(seed) != ed25519.SeedSize {
		return nil, fmt.Errorf("read the key: %s does not hold 64 hex digits", path)
	}
	return ed25519.NewKeyFromSeed(seed), nil
}

// readKey reads a private key, or makes one.
func (a *app) readKey(path string) (ed25519.PrivateKey, error) {
	key, err := loadKey(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return key, err
	}
	_, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		return nil, fmt.Errorf("make a key: %w", err)
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, fmt.Errorf("make a key: %w", err)
	}
	_, err = fmt.Fprintln(f, hex.EncodeToString(private.Seed()))
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, fmt.Errorf("make a key: %w", err)
	}
	a.say("made the key %s: keep it, nobody else can replace what it signs", path)
	return private, nil
}

// publicHex is the public half of a key as links have it.
func publicHex(private ed25519.PrivateKey) string {
	return hex.EncodeToString(private.Public().(ed25519.PublicKey))
}

// sign signs an item as BEP 44 says ("Signature generation").
func sign(req *client.DHTPutRequest, private ed25519.PrivateKey, salt string) {
	var b []byte
	if salt != "" {
		b = fmt.Appendf(b, "4:salt%d:%s", len(salt), salt)
	}
	b = fmt.Appendf(b, "3:seqi%de1:v%s", req.Seq, req.V)
	req.K = publicHex(private)
	req.Sig = hex.EncodeToString(ed25519.Sign(private, b))
	if salt != "" {
		req.Salt = []byte(salt)
	}
}

// itemID is where the item of a key is in the DHT (BEP 44, "Mutable items").
func itemID(key, salt []byte) string {
	h := sha1.New()
	h.Write(key)
	h.Write(salt)
	return hex.EncodeToString(h.Sum(nil))
}

// keyed is one of several things that a key and a salt name.
type keyed struct {
	id, key, name string
	salt          []byte
}

// choose finds the one that a word names: its id or key, or the beginning of
// them, its name, or a link. A salt that is given has to fit.
func choose(all []keyed, word, salt string) (keyed, error) {
	if m, err := metainfo.ParseMagnet(word); err == nil && m.Key != nil {
		word = itemID(m.Key, m.Salt)
	}
	var found []keyed
	lower := strings.ToLower(word)
	for _, x := range all {
		if salt != "" && string(x.salt) != salt {
			continue
		}
		if x.id == lower || len(lower) >= 4 && (strings.HasPrefix(x.key, lower) || strings.HasPrefix(x.id, lower)) || x.name != "" && x.name == word {
			found = append(found, x)
		}
	}
	switch {
	case len(found) == 0:
		return keyed{}, missingError{fmt.Sprintf("there is nothing that %q names", word)}
	case len(found) > 1:
		return keyed{}, usagef("%q names %d of them: say more of it, or --salt", word, len(found))
	}
	return found[0], nil
}

// saltText shows a salt, which need not be text.
func saltText(salt []byte) string { return orNothing(string(salt)) }

// shortKey is enough of a key to be told from others.
func shortKey(key string) string { return key[:min(len(key), 16)] }
