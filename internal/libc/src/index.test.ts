import { ftruncateSync } from "node:fs";
import { expect, test } from "vitest";
import {
  addressOf,
  closeFd,
  createMemoryFile,
  EventFd,
  Mapping,
  SystemCallError,
} from "./index.js";

test("two mappings of one memory file see each other's writes", () => {
  const fd = createMemoryFile("test");
  ftruncateSync(fd, 8192);
  using a = Mapping.file(fd, 8192, 0, { shared: true });
  using b = Mapping.file(fd, 4096, 4096, { shared: true });
  closeFd(fd);
  new Uint8Array(a.view())[4096] = 7;
  expect(new Uint8Array(b.view())[0]).toBe(7);
});

test("a view has the mapping's address", () => {
  using mapping = Mapping.anonymous(4096);
  expect(addressOf(mapping.view())).toBe(mapping.address);
});

test("an impossible mapping says which call failed and why", () => {
  expect(() => Mapping.file(-1, 4096, 0)).toThrow(SystemCallError);
  expect(() => Mapping.file(-1, 4096, 0)).toThrow(/^mmap 4096 bytes: EBADF$/);
});

test("a signalled eventfd wakes its watcher once", async () => {
  using event = new EventFd();
  let count = 0;
  const woken = new Promise<void>((resolve) => {
    const watch = event.watch(() => {
      count++;
      setTimeout(() => {
        watch.close();
        resolve();
      }, 10);
    });
  });
  event.signal();
  event.signal();
  await woken;
  expect(count).toBe(1);
  expect(event.drain()).toBe(false);
});
