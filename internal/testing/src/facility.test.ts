import { afterEach, expect, test, vi } from "vitest";
import { missing, requireFacility } from "./facility.js";

afterEach(() => vi.unstubAllEnvs());

test("a program in PATH is there, another is named as missing", () => {
  expect(missing("program:node")).toBeUndefined();
  expect(missing("program:no-such-program")).toBe("no-such-program is not installed");
});

test("the lab is recognised by its environment variable alone", () => {
  vi.stubEnv("SUPERMACHINE_LAB", "");
  expect(missing("lab")).toBe("not in the KVM lab");
  vi.stubEnv("SUPERMACHINE_LAB", "1");
  expect(missing("lab")).toBeUndefined();
});

test("an unknown facility is an error, not a skip", () => {
  const misspelt: string = "kmv";
  expect(() => missing(misspelt as "kvm")).toThrow("unknown facility kmv");
});

let ran = false;
requireFacility("program:node").test("what is available runs", () => {
  ran = true;
});
test("the test above has run", () => {
  expect(ran).toBe(true);
});

test("a file of the system is there or is named as missing", () => {
  expect(missing(`file:${process.execPath}`)).toBeUndefined();
  expect(missing("file:/no/such/file")).toBe("there is no /no/such/file");
});

requireFacility({ name: "own", missing: undefined }).test(
  "a facility of the test's own, there",
  () => {
    expect(ran).toBe(true);
  },
);
