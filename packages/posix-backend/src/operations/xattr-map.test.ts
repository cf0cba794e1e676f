import { EOPNOTSUPP, EPERM } from "@supermachine/fuse-protocol";
import { runs } from "@supermachine-internal/testing";
import fc from "fast-check";
import { expect, test } from "vitest";
import { PosixBackendError } from "../error.js";
import { XattrMap } from "./xattr-map.js";

test("prefixes every name and hides those without the prefix", () => {
  const map = new XattrMap(":prefix:all::user.virtiofs.::bad:all:::");
  expect(map.toHost("security.selinux")).toBe("user.virtiofs.security.selinux");
  expect(map.toClient("user.virtiofs.trusted.x")).toBe("trusted.x");
  expect(map.toClient("user.other")).toBe(undefined);
  expect(map.toClient("user.virtiofs.")).toBe(undefined);
});

test("prefixes some names and lets others pass", () => {
  const map = new XattrMap(`
    /prefix/all/trusted./user.virtiofs./
    /bad/server//trusted./
    /bad/client/user.virtiofs.//
    /ok/all///
  `);
  expect(map.toHost("trusted.x")).toBe("user.virtiofs.trusted.x");
  expect(map.toHost("user.virtiofs.trusted.x")).toBe(-EPERM);
  expect(map.toHost("user.x")).toBe("user.x");
  expect(map.toClient("trusted.x")).toBe(undefined);
  expect(map.toClient("user.virtiofs.trusted.x")).toBe("trusted.x");
  expect(map.toClient("security.x")).toBe("security.x");
});

test.each([
  ["user.x", "user.x", "user.x"],
  ["trusted.x", "user.virtiofs.trusted.x", undefined],
  ["user.virtiofs.x", -EPERM, undefined],
  ["security.capability", "security.capability", "security.capability"],
])("the short form with a key treats %s as the long one", (name, host, client) => {
  const map = new XattrMap(":map:trusted.:user.virtiofs.:");
  expect([map.toHost(name), map.toClient(name)]).toEqual([host, client]);
});

test("the short form without a key prefixes everything", () => {
  const map = new XattrMap(":map::user.virtiofs.:");
  expect(map.toHost("trusted.x")).toBe("user.virtiofs.trusted.x");
  expect(map.toClient("trusted.x")).toBe(undefined);
});

test("`unsupported` is told apart from `bad`", () => {
  const map = new XattrMap(
    "/unsupported/all/security.selinux/security.selinux/ /bad/client/user.no// /ok/all///",
  );
  expect(map.toHost("security.selinux")).toBe(-EOPNOTSUPP);
  expect(map.toClient("security.selinux")).toBe(undefined);
  expect(map.toHost("user.no")).toBe(-EPERM);
});

test.each([
  "",
  " ",
  ":",
  ":ok:all::",
  ":ok:all",
  ":okay:all:::",
  ":ok:any:::",
  ":prefix:all:a:b:",
  ":ok:client:::",
  ":bad:server:::",
  ":map:a:b",
  ":map:a:b::ok:all:::",
  ":ok:all:::".repeat(257),
])("refuses %j", (text) => {
  expect(() => new XattrMap(text)).toThrow(PosixBackendError);
});

const name = fc.stringMatching(/^(user|trusted|security)\.[ab.]{0,6}$/);
const part = fc.constantFrom("", "user.", "user.v.", "trusted.", "security.a", "a");
const rule = fc
  .tuple(
    fc.constantFrom("prefix", "ok", "bad", "unsupported"),
    fc.constantFrom("client", "server", "all"),
    part,
    part,
  )
  .map((fields) => `/${fields.join("/")}/`);

test("whatever the rules, a name that is listed leads back to the attribute it stands for", () => {
  const last = fc.constantFrom("/ok/all///", "/bad/all///", "/prefix/all//user.v.//bad/all///");
  fc.assert(
    fc.property(fc.array(rule, { maxLength: 5 }), last, name, (rules, end, listed) => {
      const map = new XattrMap(rules.join(" ") + end);
      const shown = map.toClient(listed);
      if (shown !== undefined) expect(map.toHost(shown)).toBe(listed);
      expect(typeof map.toHost(listed)).toMatch(/string|number/);
    }),
    { numRuns: runs(300) },
  );
});

test("no text makes the parser throw anything but its own error", () => {
  const text = fc.oneof(fc.string(), fc.stringMatching(/^[:/ a]*(map|ok|bad)?[:/ a]*$/));
  fc.assert(
    fc.property(text, (value) => {
      try {
        new XattrMap(value);
      } catch (error) {
        expect(error).toBeInstanceOf(PosixBackendError);
      }
    }),
    { numRuns: runs(300) },
  );
});
