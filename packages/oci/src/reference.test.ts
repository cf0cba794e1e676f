import { runs } from "@supermachine-internal/testing";
import fc from "fast-check";
import { expect, test } from "vitest";
import { OciError } from "./errors.js";
import {
  canonicalName,
  formatReference,
  isSameName,
  isShortNameOf,
  parseReference,
} from "./reference.js";

const hex = "a".repeat(64);

test.each([
  ["demo", { repository: "demo" }],
  ["debian:12", { repository: "debian", tag: "12" }],
  ["team/app:1.0-rc_1", { repository: "team/app", tag: "1.0-rc_1" }],
  ["host:5000/team/app", { domain: "host:5000", repository: "team/app" }],
  ["localhost/app", { domain: "localhost", repository: "app" }],
  ["r.example/a__b/c--d", { domain: "r.example", repository: "a__b/c--d" }],
  ["[::1]:5000/app", { domain: "[::1]:5000", repository: "app" }],
  [`app:t@sha256:${hex}`, { repository: "app", tag: "t", digest: `sha256:${hex}` }],
])("%s is taken apart", (text, parts) => {
  expect(parseReference(text)).toEqual(parts);
  expect(formatReference(parts)).toBe(text);
});

test.each([
  "",
  ":tag",
  "Upper",
  "a//b",
  "a/",
  "/a",
  "a___b",
  "a..b",
  "-a",
  "a:",
  "a:-t",
  "a@sha256:12",
  `a@md5:${hex}`,
  "a b",
  "-bad.host/a",
  "../a",
  "a".repeat(256),
  "x".repeat(1000),
  "a\n",
])("%j is refused with what to write instead", (text) => {
  expect(() => parseReference(text)).toThrow(
    expect.objectContaining({
      code: "ERR_OCI_BAD_REFERENCE",
      message: expect.stringContaining("write one like"),
    }),
  );
});

test("any text is either refused or written out again as it was", () => {
  fc.assert(
    fc.property(
      fc.oneof(fc.string({ maxLength: 60 }), fc.stringMatching(/^[a-z0-9./:@_-]{1,60}$/)),
      (text) => {
        try {
          expect(formatReference(parseReference(text))).toBe(text);
        } catch (error) {
          if (!(error instanceof OciError)) throw error;
        }
      },
    ),
    { numRuns: runs(2000) },
  );
});

test("demo and demo:latest are one name, and a short name finds the long one", () => {
  expect(canonicalName("demo:latest")).toBe("demo");
  expect(isSameName("demo", "demo:latest")).toBe(true);
  expect(isShortNameOf("debian:12", "r.example/library/debian:12")).toBe(true);
  expect(isShortNameOf("bian:12", "r.example/library/debian:12")).toBe(false);
});
