package krpc

// Fault says what is wrong with a packet. It is an error, and an index for
// counters. None means that nothing is wrong.
type Fault uint8

// The faults.
const (
	None             Fault = iota
	FaultSize              // empty, or longer than a UDP packet can be
	FaultBencode           // not a bencoded dictionary, or cut off
	FaultDepth             // nested too deep
	FaultTrailing          // bytes after the dictionary
	FaultDuplicate         // a key that comes twice with different values
	FaultTransaction       // t is missing or too long
	FaultKind              // y is missing or none of q, r, e
	FaultBody              // no q, no a with a query, no r with a reply, no e with an error
	FaultType              // a known key whose value has the wrong type
	FaultID                // an id, a target or an info-hash that is missing or has not 20 bytes
	FaultLength            // another value of fixed length that has not that length
	FaultAddress           // a compact address that has none of the known sizes
	FaultNodes             // compact nodes that are not a multiple of their size
	FaultPort              // announced port missing, 0 or above 65535
	FaultArgument          // another argument that the query needs is missing or out of range
	NumFaults              // how many there are
)

// String is a short name, fit for a counter.
func (f Fault) String() string {
	switch f {
	case None:
		return "none"
	case FaultSize:
		return "size"
	case FaultBencode:
		return "bencode"
	case FaultDepth:
		return "depth"
	case FaultTrailing:
		return "trailing bytes"
	case FaultDuplicate:
		return "duplicate key"
	case FaultTransaction:
		return "transaction id"
	case FaultKind:
		return "kind"
	case FaultBody:
		return "no body"
	case FaultType:
		return "wrong type"
	case FaultID:
		return "id"
	case FaultLength:
		return "length"
	case FaultAddress:
		return "address"
	case FaultNodes:
		return "nodes"
	case FaultPort:
		return "port"
	case FaultArgument:
		return "argument"
	}
	return "unknown"
}

// Error makes a Fault an error.
func (f Fault) Error() string { return "krpc: bad packet: " + f.String() }

// Codes of error messages: BEP 5, "Errors", and BEP 44, "Errors".
const (
	CodeGeneric   = 201
	CodeServer    = 202
	CodeProtocol  = 203 // malformed packet, bad arguments, bad token
	CodeMethod    = 204 // method unknown
	CodeValueSize = 205 // value too big
	CodeSignature = 206
	CodeSaltSize  = 207 // salt too big
	CodeCAS       = 301 // the sequence number is not the one expected
	CodeSequence  = 302 // sequence number less than the stored one
)
