import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Struct } from "@supermachine-internal/struct";
import { expect, test } from "vitest";
import * as generic from "../src/abi.js";
import * as x86 from "../src/abi-x86.js";
import { sigaction } from "../src/kick.js";
import { capabilities, constants, ioctls } from "../src/numbers.js";

/** Compiles a C program that prints `name value` lines and returns them. */
function measure(expressions: Iterable<readonly [string, string]>): Map<string, number> {
  const directory = mkdtempSync(join(tmpdir(), "kvm-abi-"));
  try {
    const source = join(directory, "probe.c");
    const program = join(directory, "probe");
    const lines = [...expressions].map(
      ([name, expression]) => `printf("${name} %lu\\n", (unsigned long)(${expression}));`,
    );
    writeFileSync(
      source,
      `#define _GNU_SOURCE
      #include <signal.h>
      #include <stddef.h>
      #include <stdio.h>
      #include <linux/kvm.h>
      int main(void) { ${lines.join("\n")} return 0; }`,
    );
    execFileSync("gcc", ["-Wall", "-Werror", "-o", program, source]);
    const output = execFileSync(program, { encoding: "utf8" }).trim().split("\n");
    return new Map(
      output.map((line) => {
        const [name = "", value] = line.split(" ");
        return [name, Number(value)];
      }),
    );
  } finally {
    rmSync(directory, { recursive: true });
  }
}

function isStruct(value: unknown): value is Struct {
  return typeof value === "object" && value !== null && "offsets" in value;
}

const declarations: unknown[] = [...Object.values(generic), ...Object.values(x86), sigaction];
const structs = declarations.filter(isStruct);

/** `kvm_run.io` is a member of the union in kvm_run; its fields count from there. */
function* layoutOf(struct: Struct): Generator<readonly [string, string, number]> {
  const [outer = "", member] = struct.name.split(".");
  const prefix = member === undefined ? "" : `${member}.`;
  const base = member === undefined ? "0" : `offsetof(struct ${outer}, ${member})`;
  for (const [field, offset] of Object.entries(struct.offsets)) {
    if (field.startsWith("_")) continue;
    const expression = `offsetof(struct ${outer}, ${prefix}${field}) - ${base}`;
    yield [`${struct.name}:${field}`, expression, offset];
  }
  if (struct === generic.kvm_run) {
    yield ["kvm_run:union", "offsetof(struct kvm_run, io)", struct.size];
  } else {
    const value = member === undefined ? `struct ${outer}` : `((struct ${outer} *)0)->${member}`;
    yield [`${struct.name}:size`, `sizeof(${value})`, struct.size];
  }
}

test("every struct has the size and field offsets of the C headers", () => {
  const layout = structs.flatMap((struct) => [...layoutOf(struct)]);
  const measured = measure(layout.map(([name, expression]) => [name, expression]));
  expect(layout.length).toBeGreaterThan(150);
  expect(new Map(layout.map(([name, , value]) => [name, value]))).toEqual(measured);
});

test("every ioctl, capability and constant has the number of the C headers", () => {
  const numbers = Object.entries({ ...ioctls, ...capabilities, ...constants });
  expect(new Map(numbers)).toEqual(measure(numbers.map(([name]) => [name, name])));
});
