import { expect, test } from "vitest";
import * as api from "./index.js";

test("the public API is just this", () => {
  expect(Object.keys(api).sort()).toEqual([
    "ErofsError",
    "ErofsReader",
    "ErofsWriter",
    "decodeName",
    "encodeName",
    "isStorableXattr",
    "writeErofs",
  ]);
});
