#include "textflag.h"
#include "data_amd64.h"

// SHA-1 (FIPS 180-4, section 6.1.2) of 8 messages side by side: lane i of
// each register belongs to message i.

// Four registers at a time of half a chunk: see the 16 lanes.
#define LOAD(i, half, y) \
	MOVQ (i*8)(SI), AX; \
	VMOVDQU half(AX)(DX*1), y; \
	VPSHUFB Y15, y, y

#define FOUR(r0, r1, r2, r3) \
	VPUNPCKLDQ r1, r0, Y8; \
	VPUNPCKHDQ r1, r0, Y9; \
	VPUNPCKLDQ r3, r2, Y10; \
	VPUNPCKHDQ r3, r2, Y11; \
	VPUNPCKLQDQ Y10, Y8, r0; \
	VPUNPCKHQDQ Y10, Y8, r1; \
	VPUNPCKLQDQ Y11, Y9, r2; \
	VPUNPCKHQDQ Y11, Y9, r3

// Word k and word k+4 of all messages go to their places in the schedule.
#define STORE(lo, hi, at) \
	VPERM2I128 $0x20, hi, lo, Y8; \
	VPERM2I128 $0x31, hi, lo, Y9; \
	VMOVDQU Y8, (at)(SP); \
	VMOVDQU Y9, (at+128)(SP)

// Half a chunk, turned from one message per register to one word per register.
#define HALF(half, at) \
	LOAD(0, half, Y0); \
	LOAD(1, half, Y1); \
	LOAD(2, half, Y2); \
	LOAD(3, half, Y3); \
	LOAD(4, half, Y4); \
	LOAD(5, half, Y5); \
	LOAD(6, half, Y6); \
	LOAD(7, half, Y7); \
	FOUR(Y0, Y1, Y2, Y3); \
	FOUR(Y4, Y5, Y6, Y7); \
	STORE(Y0, Y4, at+0); \
	STORE(Y1, Y5, at+32); \
	STORE(Y2, Y6, at+64); \
	STORE(Y3, Y7, at+96)

// What f of b, c and d adds to e. Majority is (b & (c ^ d)) + (c & d).
#define CH(b, c, d, e) \
	VPXOR c, d, Y7; \
	VPAND b, Y7, Y7; \
	VPXOR d, Y7, Y7; \
	VPADDD Y7, e, e

#define PAR(b, c, d, e) \
	VPXOR c, d, Y7; \
	VPXOR b, Y7, Y7; \
	VPADDD Y7, e, e

#define MAJ(b, c, d, e) \
	VPXOR c, d, Y7; \
	VPAND c, d, Y8; \
	VPAND b, Y7, Y7; \
	VPADDD Y8, e, e; \
	VPADDD Y7, e, e

// The rest of a step. K + w is in Y5.
#define STEP(f, a, b, c, d, e) \
	VPADDD Y5, e, e; \
	f(b, c, d, e); \
	VPSLLD $5, a, Y9; \
	VPSRLD $27, a, Y10; \
	VPOR Y9, Y10, Y9; \
	VPADDD Y9, e, e; \
	VPSLLD $30, b, Y11; \
	VPSRLD $2, b, b; \
	VPOR Y11, b, b

// A step with word w of the chunk.
#define FIRST(f, a, b, c, d, e, w) \
	VPADDD (w*32)(SP), Y14, Y5; \
	STEP(f, a, b, c, d, e)

// The next word of the schedule in place of the one 16 steps before (w0), from
// those 14, 8 and 3 steps before; then a step with it.
#define NEXT(f, a, b, c, d, e, w0, w2, w8, w13) \
	VMOVDQU (w13*32)(SP), Y5; \
	VPXOR (w8*32)(SP), Y5, Y5; \
	VPXOR (w2*32)(SP), Y5, Y5; \
	VPXOR (w0*32)(SP), Y5, Y5; \
	VPADDD Y5, Y5, Y6; \
	VPSRLD $31, Y5, Y5; \
	VPOR Y6, Y5, Y5; \
	VMOVDQU Y5, (w0*32)(SP); \
	VPADDD Y14, Y5, Y5; \
	STEP(f, a, b, c, d, e)

// func block8(state *[5][16]uint32, data *[16]unsafe.Pointer, chunks int)
// It uses the first eight lanes. Requires: AVX2
TEXT ·block8(SB), NOSPLIT, $512-24
	MOVQ state+0(FP), DI
	MOVQ data+8(FP), SI
	MOVQ chunks+16(FP), CX
	XORQ DX, DX
	VBROADCASTI128 swap<>(SB), Y15

chunk:
	HALF(0, 0)
	HALF(32, 256)
	VMOVDQU 0(DI), Y0
	VMOVDQU 64(DI), Y1
	VMOVDQU 128(DI), Y2
	VMOVDQU 192(DI), Y3
	VMOVDQU 256(DI), Y4

	VPBROADCASTD keys<>+0(SB), Y14
	FIRST(CH, Y0, Y1, Y2, Y3, Y4, 0)
	FIRST(CH, Y4, Y0, Y1, Y2, Y3, 1)
	FIRST(CH, Y3, Y4, Y0, Y1, Y2, 2)
	FIRST(CH, Y2, Y3, Y4, Y0, Y1, 3)
	FIRST(CH, Y1, Y2, Y3, Y4, Y0, 4)
	FIRST(CH, Y0, Y1, Y2, Y3, Y4, 5)
	FIRST(CH, Y4, Y0, Y1, Y2, Y3, 6)
	FIRST(CH, Y3, Y4, Y0, Y1, Y2, 7)
	FIRST(CH, Y2, Y3, Y4, Y0, Y1, 8)
	FIRST(CH, Y1, Y2, Y3, Y4, Y0, 9)
	FIRST(CH, Y0, Y1, Y2, Y3, Y4, 10)
	FIRST(CH, Y4, Y0, Y1, Y2, Y3, 11)
	FIRST(CH, Y3, Y4, Y0, Y1, Y2, 12)
	FIRST(CH, Y2, Y3, Y4, Y0, Y1, 13)
	FIRST(CH, Y1, Y2, Y3, Y4, Y0, 14)
	FIRST(CH, Y0, Y1, Y2, Y3, Y4, 15)
	NEXT(CH, Y4, Y0, Y1, Y2, Y3, 0, 2, 8, 13)
	NEXT(CH, Y3, Y4, Y0, Y1, Y2, 1, 3, 9, 14)
	NEXT(CH, Y2, Y3, Y4, Y0, Y1, 2, 4, 10, 15)
	NEXT(CH, Y1, Y2, Y3, Y4, Y0, 3, 5, 11, 0)

	VPBROADCASTD keys<>+4(SB), Y14
	NEXT(PAR, Y0, Y1, Y2, Y3, Y4, 4, 6, 12, 1)
	NEXT(PAR, Y4, Y0, Y1, Y2, Y3, 5, 7, 13, 2)
	NEXT(PAR, Y3, Y4, Y0, Y1, Y2, 6, 8, 14, 3)
	NEXT(PAR, Y2, Y3, Y4, Y0, Y1, 7, 9, 15, 4)
	NEXT(PAR, Y1, Y2, Y3, Y4, Y0, 8, 10, 0, 5)
	NEXT(PAR, Y0, Y1, Y2, Y3, Y4, 9, 11, 1, 6)
	NEXT(PAR, Y4, Y0, Y1, Y2, Y3, 10, 12, 2, 7)
	NEXT(PAR, Y3, Y4, Y0, Y1, Y2, 11, 13, 3, 8)
	NEXT(PAR, Y2, Y3, Y4, Y0, Y1, 12, 14, 4, 9)
	NEXT(PAR, Y1, Y2, Y3, Y4, Y0, 13, 15, 5, 10)
	NEXT(PAR, Y0, Y1, Y2, Y3, Y4, 14, 0, 6, 11)
	NEXT(PAR, Y4, Y0, Y1, Y2, Y3, 15, 1, 7, 12)
	NEXT(PAR, Y3, Y4, Y0, Y1, Y2, 0, 2, 8, 13)
	NEXT(PAR, Y2, Y3, Y4, Y0, Y1, 1, 3, 9, 14)
	NEXT(PAR, Y1, Y2, Y3, Y4, Y0, 2, 4, 10, 15)
	NEXT(PAR, Y0, Y1, Y2, Y3, Y4, 3, 5, 11, 0)
	NEXT(PAR, Y4, Y0, Y1, Y2, Y3, 4, 6, 12, 1)
	NEXT(PAR, Y3, Y4, Y0, Y1, Y2, 5, 7, 13, 2)
	NEXT(PAR, Y2, Y3, Y4, Y0, Y1, 6, 8, 14, 3)
	NEXT(PAR, Y1, Y2, Y3, Y4, Y0, 7, 9, 15, 4)

	VPBROADCASTD keys<>+8(SB), Y14
	NEXT(MAJ, Y0, Y1, Y2, Y3, Y4, 8, 10, 0, 5)
	NEXT(MAJ, Y4, Y0, Y1, Y2, Y3, 9, 11, 1, 6)
	NEXT(MAJ, Y3, Y4, Y0, Y1, Y2, 10, 12, 2, 7)
	NEXT(MAJ, Y2, Y3, Y4, Y0, Y1, 11, 13, 3, 8)
	NEXT(MAJ, Y1, Y2, Y3, Y4, Y0, 12, 14, 4, 9)
	NEXT(MAJ, Y0, Y1, Y2, Y3, Y4, 13, 15, 5, 10)
	NEXT(MAJ, Y4, Y0, Y1, Y2, Y3, 14, 0, 6, 11)
	NEXT(MAJ, Y3, Y4, Y0, Y1, Y2, 15, 1, 7, 12)
	NEXT(MAJ, Y2, Y3, Y4, Y0, Y1, 0, 2, 8, 13)
	NEXT(MAJ, Y1, Y2, Y3, Y4, Y0, 1, 3, 9, 14)
	NEXT(MAJ, Y0, Y1, Y2, Y3, Y4, 2, 4, 10, 15)
	NEXT(MAJ, Y4, Y0, Y1, Y2, Y3, 3, 5, 11, 0)
	NEXT(MAJ, Y3, Y4, Y0, Y1, Y2, 4, 6, 12, 1)
	NEXT(MAJ, Y2, Y3, Y4, Y0, Y1, 5, 7, 13, 2)
	NEXT(MAJ, Y1, Y2, Y3, Y4, Y0, 6, 8, 14, 3)
	NEXT(MAJ, Y0, Y1, Y2, Y3, Y4, 7, 9, 15, 4)
	NEXT(MAJ, Y4, Y0, Y1, Y2, Y3, 8, 10, 0, 5)
	NEXT(MAJ, Y3, Y4, Y0, Y1, Y2, 9, 11, 1, 6)
	NEXT(MAJ, Y2, Y3, Y4, Y0, Y1, 10, 12, 2, 7)
	NEXT(MAJ, Y1, Y2, Y3, Y4, Y0, 11, 13, 3, 8)

	VPBROADCASTD keys<>+12(SB), Y14
	NEXT(PAR, Y0, Y1, Y2, Y3, Y4, 12, 14, 4, 9)
	NEXT(PAR, Y4, Y0, Y1, Y2, Y3, 13, 15, 5, 10)
	NEXT(PAR, Y3, Y4, Y0, Y1, Y2, 14, 0, 6, 11)
	NEXT(PAR, Y2, Y3, Y4, Y0, Y1, 15, 1, 7, 12)
	NEXT(PAR, Y1, Y2, Y3, Y4, Y0, 0, 2, 8, 13)
	NEXT(PAR, Y0, Y1, Y2, Y3, Y4, 1, 3, 9, 14)
	NEXT(PAR, Y4, Y0, Y1, Y2, Y3, 2, 4, 10, 15)
	NEXT(PAR, Y3, Y4, Y0, Y1, Y2, 3, 5, 11, 0)
	NEXT(PAR, Y2, Y3, Y4, Y0, Y1, 4, 6, 12, 1)
	NEXT(PAR, Y1, Y2, Y3, Y4, Y0, 5, 7, 13, 2)
	NEXT(PAR, Y0, Y1, Y2, Y3, Y4, 6, 8, 14, 3)
	NEXT(PAR, Y4, Y0, Y1, Y2, Y3, 7, 9, 15, 4)
	NEXT(PAR, Y3, Y4, Y0, Y1, Y2, 8, 10, 0, 5)
	NEXT(PAR, Y2, Y3, Y4, Y0, Y1, 9, 11, 1, 6)
	NEXT(PAR, Y1, Y2, Y3, Y4, Y0, 10, 12, 2, 7)
	NEXT(PAR, Y0, Y1, Y2, Y3, Y4, 11, 13, 3, 8)
	NEXT(PAR, Y4, Y0, Y1, Y2, Y3, 12, 14, 4, 9)
	NEXT(PAR, Y3, Y4, Y0, Y1, Y2, 13, 15, 5, 10)
	NEXT(PAR, Y2, Y3, Y4, Y0, Y1, 14, 0, 6, 11)
	NEXT(PAR, Y1, Y2, Y3, Y4, Y0, 15, 1, 7, 12)

	VPADDD 0(DI), Y0, Y0
	VMOVDQU Y0, 0(DI)
	VPADDD 64(DI), Y1, Y1
	VMOVDQU Y1, 64(DI)
	VPADDD 128(DI), Y2, Y2
	VMOVDQU Y2, 128(DI)
	VPADDD 192(DI), Y3, Y3
	VMOVDQU Y3, 192(DI)
	VPADDD 256(DI), Y4, Y4
	VMOVDQU Y4, 256(DI)
	ADDQ $64, DX
	DECQ CX
	JNZ chunk
	VZEROUPPER
	RET
