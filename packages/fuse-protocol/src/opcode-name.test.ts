import { expect, test } from "vitest";
import { FUSE_READ, opcodeName } from "./index.js";

test("opcodes have the names of the header, others their number", () => {
  expect(opcodeName(FUSE_READ)).toBe("FUSE_READ");
  expect(opcodeName(63)).toBe("opcode 63");
});
