"""Machine code written by hand, as cuobjdump and the compilers print it."""

import re


def sass(*lines):
    """A kernel, each instruction 16 bytes; "@3@" in a line is the address of the fourth one."""
    text = ["\t\tFunction : kernel"]
    for index, line in enumerate(lines):
        placed = re.sub(r"@(\d+)@", lambda at: f"{16 * int(at[1]):#x}", line)
        text.append(f"        /*{16 * index:04x}*/                   {placed} ;   /* 0x00 */")
        text.append("                                                 /* 0x000fe20000000800 */")
    return "\n".join(text)


# A loop of two products, with a wait that was moved behind the end: 3 to 9, and 13 to 15.
WAITING = sass(
    "MOV R1, c[0x0][0x28]",
    "@P0 BRA @12@",
    "SHFL.IDX PT, R0, R1, RZ, 0x1f",
    "LDGSTS.E.BYPASS.128 [R2], desc[UR4][R4.64]",
    "SYNCS.PHASECHK.TRANS64.TRYWAIT P6, [UR18], R63",
    "@!P6 BRA @13@",
    "LDGSTS.E.64 [R2], desc[UR4][R4.64]",
    "HGMMA.64x64x16.F32 R24, gdesc[UR4], R24",
    "HGMMA.64x64x16.F32 R24, gdesc[UR4], R24, gsb0",
    "@!P1 BRA @3@",
    "SHFL.BFLY PT, R0, R1, 0x1, 0x1f",
    "STG.E.128 desc[UR14][R2.64], R4",
    "EXIT",
    "SYNCS.PHASECHK.TRANS64.TRYWAIT P6, [UR18], R63",
    "@!P6 BRA @13@",
    "BRA @6@",
    "BRA @16@",
    "NOP",
)
PTX = """
.visible .entry kernel(
\t.param .u64 .ptr .global .align 1 kernel_param_0
)
.reqntid 128
{
\t.reg .pred \t%p<85>;
$L__func_begin0:
\tmov.b32 \t%r1, 0;
$L__BB0_1:                              // =>This Inner Loop Header: Depth=1
\t// begin inline asm
\t{
\t.reg .pred complete;
\twaitLoop:
\tmbarrier.try_wait.parity.shared.b64 complete, [%r1], %r2;
\t@!complete bra.uni waitLoop;
\t}
\t// end inline asm
\t@%p1 bra \t$L__BB0_2;
\twgmma.mma_async.sync.aligned.m64n64k16.f32.f16.f16 {%r3, %r4,
\t%r5}, %rd1, %rd2;
$L__BB0_2:
\t@%p99 bra \t$L__BB0_1;
\tst.global.b32 [%rd1], %r1;
\tret;
$L__func_end0:
}
"""
AMD = """
kernel:
\ts_load_dwordx2 s[0:1], s[2:3], 0x0
.LBB0_1:                                ; %loop
\tbuffer_load_dwordx4 v[2:5], v1, s[4:7], 0 offen
\tds_write_b128 v0, v[2:5]
\tv_mfma_f32_32x32x8_f16 a[0:15], v[2:3], v[4:5], a[0:15]
\ts_cbranch_scc1 .LBB0_1
; %bb.2:
\tv_mov_b32_dpp v1, v2 row_shr:1
\tglobal_store_dword v[0:1], v2, off
\ts_endpgm
.Lfunc_end0:
"""
