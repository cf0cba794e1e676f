import { execFileSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { TemporaryDirectory } from "./temporary-directory.js";

/** What a C program is asked for. */
export interface HeaderProbe {
  /** In the order of their `#include`; `linux/fuse.h`, or an absolute path. */
  readonly headers: readonly string[];
  /** Source text before the headers: macros and types that they want to find. */
  readonly prelude?: string;
  /** For the compiler, `-I` for instance. */
  readonly flags?: readonly string[];
  /** Integer constant expressions of C. */
  readonly expressions: Iterable<string>;
}

/**
 * Compiles and runs a C program that prints each expression, and returns their values, in order.
 * Throws with the compiler's words when one does not compile. Needs `program:cc`.
 */
export function probeHeaders(probe: HeaderProbe): Map<string, bigint> {
  const expressions = [...probe.expressions];
  const source = [
    probe.prelude ?? "",
    ...["stddef.h", "stdio.h", ...probe.headers].map((header) => `#include <${header}>`),
    // Without a cast a value prints as what it is: 1 << 31 is negative, 1u << 31 is not.
    `#define PRINT(x) ((x) < 0 ? printf("%lld\\n", (long long)(x)) : printf("%llu\\n", (unsigned long long)(x)))`,
    "int main(void) {",
    ...expressions.map((expression) => `  PRINT(${expression});`),
    "  return 0;",
    "}\n",
  ].join("\n");
  using directory = new TemporaryDirectory();
  const program = join(directory.path, "probe");
  writeFileSync(`${program}.c`, source);
  const output = { encoding: "latin1", stdio: "pipe" } as const;
  execFileSync("cc", [...(probe.flags ?? []), "-o", program, `${program}.c`], output);
  const values = execFileSync(program, output).trim().split("\n");
  return new Map(expressions.map((expression, i) => [expression, BigInt(values[i] ?? "")]));
}

/** What {@link structLayout} reads of a struct of internal/struct. */
interface Layout {
  readonly name: string;
  readonly size: number;
  readonly offsets: Readonly<Record<string, number>>;
}

/**
 * The `sizeof` and `offsetof` expressions of a struct, with the values it declares: compare them
 * with what {@link probeHeaders} finds. Fields for which `isOurs` holds have no name in the header.
 */
export function structLayout(
  { name, size, offsets }: Layout,
  isOurs: (field: string) => boolean = () => false,
): [expression: string, value: bigint][] {
  return [
    [`sizeof(struct ${name})`, BigInt(size)],
    ...Object.entries(offsets)
      .filter(([field]) => !isOurs(field))
      .map(([field, offset]): [string, bigint] => [
        `offsetof(struct ${name}, ${field})`,
        BigInt(offset),
      ]),
  ];
}
