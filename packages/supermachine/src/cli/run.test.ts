import { expect, test } from "vitest";
import { parseMount } from "./run.js";

test.each([
  ["/a:/b", { host: "/a", guest: "/b", readOnly: false }],
  ["a:b:/c", { host: "a:b", guest: "/c", readOnly: false }],
  ["/a:/b:ro", { host: "/a", guest: "/b", readOnly: true }],
  ["/a:/b:cache=always", { host: "/a", guest: "/b", readOnly: false, cache: "always" }],
  ["/a:/b:dax", { host: "/a", guest: "/b", readOnly: false, dax: true }],
  ["/a:/b:ro,dax=auto", { host: "/a", guest: "/b", readOnly: true, dax: "auto" }],
])("the mount %s is understood", (text, mount) => {
  expect(parseMount(text)).toEqual(mount);
});

test.each([
  "/a",
  ":/b",
  "/a:b",
  "/a:/b:",
  "/a:/b:rx",
  "/a:/b:cache=never",
  "/a:/b:ro,",
  "/a:/b:__proto__",
])("the mount %s is refused", (text) => {
  expect(() => parseMount(text)).toThrow(expect.objectContaining({ code: "ERR_OPTION" }));
});
