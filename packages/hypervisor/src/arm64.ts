/** Core registers of an arm64 vCPU; `x0` to `x30`, the current stack pointer, `pc` and `pstate`. */
export type Arm64CoreRegister = `x${number}` | "sp" | "pc" | "pstate";

/** A system register by its encoding in MRS/MSR instructions (Arm ARM, D19). */
export interface Arm64SystemRegister {
  readonly op0: number;
  readonly op1: number;
  readonly crn: number;
  readonly crm: number;
  readonly op2: number;
}

/** The register model of an arm64 vCPU. No driver implements it yet: it fixes the shape for HVF. */
export interface Arm64Vcpu {
  getRegister(register: Arm64CoreRegister | Arm64SystemRegister): bigint;
  setRegister(register: Arm64CoreRegister | Arm64SystemRegister, value: bigint): void;
}
