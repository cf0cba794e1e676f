import type { X86Fpu, X86Xcr } from "@supermachine/hypervisor";
import { kvm_fpu, kvm_xcr, kvm_xcrs, MAX_XCRS } from "../abi-x86.js";
import { KvmError } from "../errors.js";

/** Reads a `kvm_fpu`. */
export function decodeFpu(bytes: Uint8Array): X86Fpu {
  const fpu = kvm_fpu.decode(bytes);
  return {
    fpr: fpu.fpr,
    fcw: fpu.fcw,
    fsw: fpu.fsw,
    ftwx: fpu.ftwx,
    lastOpcode: fpu.last_opcode,
    lastIp: fpu.last_ip,
    lastDp: fpu.last_dp,
    xmm: fpu.xmm,
    mxcsr: fpu.mxcsr,
  };
}

/** Writes a `kvm_fpu`. */
export function encodeFpu(fpu: X86Fpu): Uint8Array {
  const bytes = Buffer.alloc(kvm_fpu.size);
  const { fpr, fcw, fsw, ftwx, lastOpcode, lastIp, lastDp, xmm, mxcsr } = fpu;
  kvm_fpu.encode(
    {
      fpr,
      fcw,
      fsw,
      ftwx,
      pad1: 0,
      last_opcode: lastOpcode,
      last_ip: lastIp,
      last_dp: lastDp,
      xmm,
      mxcsr,
      pad2: 0,
    },
    bytes,
  );
  return bytes;
}

/** Reads a `kvm_xcrs`. */
export function decodeXcrs(bytes: Uint8Array): X86Xcr[] {
  const { nr_xcrs, xcrs } = kvm_xcrs.decode(bytes);
  return Array.from({ length: Math.min(nr_xcrs, MAX_XCRS) }, (_, n) => {
    const { xcr, value } = kvm_xcr.decode(xcrs, n * kvm_xcr.size);
    return { xcr, value };
  });
}

/** Writes a `kvm_xcrs`. */
export function encodeXcrs(list: readonly X86Xcr[]): Uint8Array {
  if (list.length > MAX_XCRS) {
    throw new KvmError("ERR_KVM_ARGUMENT", `${list.length} XCRs: there are at most ${MAX_XCRS}`);
  }
  const bytes = Buffer.alloc(kvm_xcrs.size);
  bytes.writeUInt32LE(list.length, kvm_xcrs.offsets.nr_xcrs);
  for (const [n, { xcr, value }] of list.entries()) {
    const offset = kvm_xcrs.offsets.xcrs + n * kvm_xcr.size;
    kvm_xcr.encode({ xcr, reserved: 0, value }, bytes, offset);
  }
  return bytes;
}
