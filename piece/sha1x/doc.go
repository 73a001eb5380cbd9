// Package sha1x is SHA-1 (FIPS 180-4) of several messages at once, which is
// what checking pieces is: many hashes, none of which waits for another.
//
// One SHA-1 is a chain of steps that a processor cannot run side by side, not
// even with instructions made for it. Sixteen of them fit the sixteen 32-bit
// lanes of an AVX-512 register, eight those of AVX2. Where the processor has
// neither, and where too few messages are there to fill lanes, it is
// crypto/sha1 that hashes. The result is the same everywhere.
package sha1x
