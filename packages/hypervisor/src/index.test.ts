import { expect, test } from "vitest";
import * as api from "./index.js";
import { ExitReason, HypervisorError, SystemEvent, X86MpState } from "./index.js";

test("the public interface is this and nothing else", () => {
  expect(Object.keys(api).sort()).toEqual([
    "ExitReason",
    "HypervisorError",
    "MINIMUM_GUEST_SPEED",
    "SystemEvent",
    "X86MpState",
    "measureGuestSpeed",
  ]);
});

test("constants of one kind have different values", () => {
  for (const constants of [ExitReason, SystemEvent, X86MpState]) {
    const values = Object.values(constants);
    expect(new Set(values).size).toBe(values.length);
  }
});

test("an error keeps its code and cause", () => {
  const cause = new Error("below");
  const error = new HypervisorError("ERR_HYPERVISOR_TEST", "above", { cause });
  expect(error).toMatchObject({ code: "ERR_HYPERVISOR_TEST", message: "above", cause });
});
