package secure

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"

	"btd/metainfo"
)

const (
	// proofLen is the length of a proof and of what is proved, bytes.
	proofLen = sha256.Size

	// exporterLabel names what a proof is of. Another version of the proofs
	// has another label.
	exporterLabel = "EXPORTER-btd-closed-swarm-1"

	clientLabel = "btd closed swarm 1 client proof"
	serverLabel = "btd closed swarm 1 server proof"
)

// ErrProof means that the other side did not prove the secret.
var ErrProof = errors.New("secure: the secret was not proved")

// keys are what a secret is used as. Each side has its own, so that a proof
// cannot be sent back to where it came from.
type keys struct {
	secret         metainfo.Secret
	client, server [32]byte
}

func newKeys(s metainfo.Secret) (keys, error) {
	k := keys{secret: s}
	for label, into := range map[string]*[32]byte{clientLabel: &k.client, serverLabel: &k.server} {
		b, err := hkdf.Key(sha256.New, s[:], nil, label, len(into))
		if err != nil {
			return keys{}, fmt.Errorf("deriving keys of a secret: %w", err)
		}
		*into = [32]byte(b)
	}
	return k, nil
}

// prove is the proof that its sender has key and is an end of the connection
// whose exporter this is.
func prove(key *[32]byte, exporter []byte) [proofLen]byte {
	mac := hmac.New(sha256.New, key[:])
	mac.Write(exporter)
	return [proofLen]byte(mac.Sum(nil))
}

// exporterOf is the value that ties a proof to the connection.
func exporterOf(c *tls.Conn) ([]byte, error) {
	cs := c.ConnectionState()
	if cs.Version != tls.VersionTLS13 || !cs.HandshakeComplete {
		return nil, errors.New("secure: no TLS 1.3 connection")
	}
	b, err := cs.ExportKeyingMaterial(exporterLabel, nil, proofLen)
	if err != nil {
		return nil, fmt.Errorf("binding to the channel: %w", err)
	}
	return b, nil
}
