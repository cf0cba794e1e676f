import { expect, test } from "vitest";
import * as api from "./index.js";

test("the public interface is this and nothing else", () => {
  expect(Object.keys(api).sort()).toEqual([
    "DEFAULT_KICK_SIGNAL",
    "Kvm",
    "KvmError",
    "RESERVED_GUEST_RANGE",
  ]);
});
