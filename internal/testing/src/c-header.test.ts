import { expect, test } from "vitest";
import { probeHeaders, structLayout } from "./c-header.js";
import { requireFacility } from "./facility.js";

const { describe } = requireFacility("program:cc");

describe("a probe of C headers", () => {
  test("gives every value with its sign, whatever the type of its expression", () => {
    const expressions = ["-1", "~0ull", "1 << 31", "1u << 31", "sizeof(struct sockaddr)"];
    const values = probeHeaders({ headers: ["sys/socket.h"], expressions });
    expect([...values]).toEqual([
      ["-1", -1n],
      ["~0ull", 0xffff_ffff_ffff_ffffn],
      ["1 << 31", -0x8000_0000n],
      ["1u << 31", 0x8000_0000n],
      ["sizeof(struct sockaddr)", 16n],
    ]);
  });

  test("sees a struct that is declared wrongly", () => {
    const probe = (tv_usec: number) => {
      const declared = structLayout(
        { name: "timeval", size: 16, offsets: { tv_sec: 0, tv_usec, _note: 16 } },
        (field) => field.startsWith("_"),
      );
      const expressions = declared.map(([expression]) => expression);
      return [new Map(declared), probeHeaders({ headers: ["sys/time.h"], expressions })] as const;
    };
    const [right, found] = probe(8);
    expect(right).toEqual(found);
    const [wrong] = probe(4);
    expect(wrong).not.toEqual(found);
  });

  test("fails with the compiler's words where an expression does not compile", () => {
    expect(() => probeHeaders({ headers: [], expressions: ["NO_SUCH_NAME"] })).toThrow(
      /NO_SUCH_NAME/,
    );
  });

  test("takes what the headers want to find, and flags", () => {
    const probe = { prelude: "#define A 2", flags: ["-DB=3"], headers: [], expressions: ["A * B"] };
    expect(probeHeaders(probe).get("A * B")).toBe(6n);
  });
});
