import type { X86DebugRegisters, X86VcpuEvents } from "@supermachine/hypervisor";
import { kvm_debugregs, kvm_vcpu_events } from "../abi-x86.js";

/** Reads a `kvm_vcpu_events`. */
export function decodeEvents(bytes: Uint8Array): X86VcpuEvents {
  const events = kvm_vcpu_events.decode(bytes);
  return {
    exception: {
      injected: events["exception.injected"],
      nr: events["exception.nr"],
      hasErrorCode: events["exception.has_error_code"],
      pending: events["exception.pending"],
      errorCode: events["exception.error_code"],
      hasPayload: events.exception_has_payload,
      payload: events.exception_payload,
    },
    interrupt: {
      injected: events["interrupt.injected"],
      nr: events["interrupt.nr"],
      soft: events["interrupt.soft"],
      shadow: events["interrupt.shadow"],
    },
    nmi: {
      injected: events["nmi.injected"],
      pending: events["nmi.pending"],
      masked: events["nmi.masked"],
    },
    sipiVector: events.sipi_vector,
    smi: {
      smm: events["smi.smm"],
      pending: events["smi.pending"],
      insideNmi: events["smi.smm_inside_nmi"],
      latchedInit: events["smi.latched_init"],
    },
    tripleFaultPending: events["triple_fault.pending"],
    flags: events.flags,
  };
}

/** Writes a `kvm_vcpu_events`. */
export function encodeEvents(events: X86VcpuEvents): Uint8Array {
  const { exception, interrupt, nmi, smi } = events;
  const bytes = Buffer.alloc(kvm_vcpu_events.size);
  kvm_vcpu_events.encode(
    {
      "exception.injected": exception.injected,
      "exception.nr": exception.nr,
      "exception.has_error_code": exception.hasErrorCode,
      "exception.pending": exception.pending,
      "exception.error_code": exception.errorCode,
      "interrupt.injected": interrupt.injected,
      "interrupt.nr": interrupt.nr,
      "interrupt.soft": interrupt.soft,
      "interrupt.shadow": interrupt.shadow,
      "nmi.injected": nmi.injected,
      "nmi.pending": nmi.pending,
      "nmi.masked": nmi.masked,
      "nmi.pad": 0,
      sipi_vector: events.sipiVector,
      flags: events.flags,
      "smi.smm": smi.smm,
      "smi.pending": smi.pending,
      "smi.smm_inside_nmi": smi.insideNmi,
      "smi.latched_init": smi.latchedInit,
      "triple_fault.pending": events.tripleFaultPending,
      reserved: new Uint8Array(26),
      exception_has_payload: exception.hasPayload,
      exception_payload: exception.payload,
    },
    bytes,
  );
  return bytes;
}

/** Reads a `kvm_debugregs`. */
export function decodeDebugRegisters(bytes: Uint8Array): X86DebugRegisters {
  const { dr6, dr7 } = kvm_debugregs.decode(bytes);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const db = (n: number) => view.getBigUint64(kvm_debugregs.offsets.db + 8 * n, true);
  return { db: [db(0), db(1), db(2), db(3)], dr6, dr7 };
}

/** Writes a `kvm_debugregs`. */
export function encodeDebugRegisters({ db, dr6, dr7 }: X86DebugRegisters): Uint8Array {
  const bytes = Buffer.alloc(kvm_debugregs.size);
  for (const [n, address] of db.entries()) {
    bytes.writeBigUInt64LE(address, kvm_debugregs.offsets.db + 8 * n);
  }
  bytes.writeBigUInt64LE(dr6, kvm_debugregs.offsets.dr6);
  bytes.writeBigUInt64LE(dr7, kvm_debugregs.offsets.dr7);
  return bytes;
}
