// The bytes of each 32-bit word turned round, for 16 bytes.
DATA swap<>+0(SB)/8, $0x0405060700010203
DATA swap<>+8(SB)/8, $0x0c0d0e0f08090a0b
GLOBL swap<>(SB), RODATA|NOPTR, $16

DATA keys<>+0(SB)/4, $0x5a827999
DATA keys<>+4(SB)/4, $0x6ed9eba1
DATA keys<>+8(SB)/4, $0x8f1bbcdc
DATA keys<>+12(SB)/4, $0xca62c1d6
GLOBL keys<>(SB), RODATA|NOPTR, $16
