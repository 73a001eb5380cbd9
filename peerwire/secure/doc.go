// Package secure is the channel between members of a closed swarm: TLS 1.3,
// and on top of it a proof by each side that it holds the swarm's secret.
//
//	client -> ClientHello            no name, no ALPN: all are alike
//	server <- ServerHello, ephemeral certificate, Finished
//	client -> Finished, HMAC(client key, exporter)
//	server <- HMAC(server key, exporter)        only to who proved it
//
// The two keys come from the secret by HKDF. The exporter (RFC 8446, section
// 7.5; RFC 9266) is a value that only the two ends of this one TLS connection
// have: a proof is of no use on another, so that there is nothing to replay
// and nothing to pass on. The certificate proves nothing and is not looked at.
//
// An [Endpoint] answers every ClientHello, whether it holds a secret or not, and
// compares the proof with at least [ringStep] keys. Who has no secret learns
// that something here speaks TLS, and that is all. Which swarm was meant, if
// any, cannot be told from what is on the wire, nor from two connections that
// they are of the same.
//
// Sessions are not resumed, nothing is sent before the handshake is over, and
// keys are agreed by X25519 and ML-KEM-768 together: who records traffic
// today and has the secret tomorrow reads nothing.
//
// All waiting is bounded by the deadline of the connection, which the caller
// sets. [Guard] bounds how often an address may try.
package secure
