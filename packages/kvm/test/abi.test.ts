import type { Struct } from "@supermachine-internal/struct";
import { probeHeaders, requireFacility, structLayout } from "@supermachine-internal/testing";
import { expect } from "vitest";
import * as generic from "../src/abi.js";
import * as x86 from "../src/abi-x86.js";
import { capabilities, constants, ioctls } from "../src/numbers.js";

const headers = ["signal.h", "linux/kvm.h"];
const prelude = "#define _GNU_SOURCE";

function isStruct(value: unknown): value is Struct {
  return typeof value === "object" && value !== null && "offsets" in value;
}

const declarations: unknown[] = [...Object.values(generic), ...Object.values(x86)];
const structs = declarations.filter(isStruct);

const isReserved = (field: string) => field.startsWith("_");

function layoutOf(struct: Struct): [expression: string, value: bigint][] {
  if (struct === generic.kvm_run) {
    // The fields that all exits have; the union of the others follows them.
    const [, ...fields] = structLayout(struct, isReserved);
    return [...fields, ["offsetof(struct kvm_run, io)", BigInt(struct.size)]];
  }
  const [outer, member] = struct.name.split(".");
  if (member === undefined) return structLayout(struct, isReserved);
  // A member of the union in kvm_run: its fields count from its start.
  const base = `offsetof(struct ${outer}, ${member})`;
  const fields = Object.entries(struct.offsets).filter(([field]) => !isReserved(field));
  return [
    [`sizeof(((struct ${outer} *)0)->${member})`, BigInt(struct.size)],
    ...fields.map(([field, offset]): [string, bigint] => [
      `offsetof(struct ${outer}, ${member}.${field}) - ${base}`,
      BigInt(offset),
    ]),
  ];
}

const { test } = requireFacility("linux", "x86-64", "program:cc");

test("every struct has the size and field offsets of the C headers", () => {
  const declared = new Map(structs.flatMap(layoutOf));
  expect(declared.size).toBeGreaterThan(150);
  expect(probeHeaders({ headers, prelude, expressions: declared.keys() })).toEqual(declared);
});

test("every ioctl, capability and constant has the number of the C headers", () => {
  const numbers = Object.entries({ ...ioctls, ...capabilities, ...constants });
  const declared = new Map(numbers.map(([name, number]) => [name, BigInt(number)]));
  expect(probeHeaders({ headers, prelude, expressions: declared.keys() })).toEqual(declared);
});
