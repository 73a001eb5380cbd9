package krpc

import "github.com/anacrolix/dht/v2/int160"

// ID is a node id, an info-hash or the target of an item: 160 bits, compared
// by XOR distance (BEP 5, "Overview").
type ID = int160.T
