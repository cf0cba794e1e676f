import * as opcodes from "./abi/opcode.js";

let names: ReadonlyMap<number, string> | undefined;

/** The name of a request's opcode in `linux/fuse.h`, such as `FUSE_READ`; `opcode N` for one it does not have. */
export function opcodeName(opcode: number): string {
  names ??= new Map(Object.entries(opcodes).map(([name, value]) => [value, name]));
  return names.get(opcode) ?? `opcode ${opcode}`;
}
