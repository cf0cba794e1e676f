import { expect, test } from "vitest";
import * as api from "./index.js";

test("the public API is what it was", () => {
  expect(Object.keys(api).sort()).toEqual([
    "DaxBackend",
    "PosixBackend",
    "PosixBackendError",
    "SharedPosixShare",
    "createPracticeBackend",
  ]);
});
