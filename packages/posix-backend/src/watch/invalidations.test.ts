import { Notifier } from "@supermachine/fuse-server";
import { expect, test, vi } from "vitest";
import { Invalidations } from "./invalidations.js";

/** A transport that holds messages back until it is told to carry them. */
function heldTransport(failure?: Error) {
  let sent = 0;
  const carry: (() => void)[] = [];
  const notifier = new Notifier(async () => {
    await new Promise<void>((resolve) => carry.push(resolve));
    sent++;
    if (failure !== undefined) throw failure;
  });
  const carryAll = () => {
    for (const next of carry.splice(0)) next();
  };
  return { notifier, waiting: () => carry.length, sent: () => sent, carryAll };
}

test("notifications wait for each other, and failed ones hold nothing up", async () => {
  const gone = Object.assign(new Error("ENOENT"), { code: "ENOENT" });
  const transport = heldTransport(gone);
  const all = vi.fn(async () => {});
  const invalidations = new Invalidations(transport.notifier, all);
  for (let i = 0; i < 5; i++) invalidations.inode(i, true);
  for (let i = 1; i <= 5; i++) {
    await vi.waitFor(() => expect(transport.waiting()).toBe(1));
    transport.carryAll();
    await vi.waitFor(() => expect(transport.sent()).toBe(i));
  }
  expect(all).not.toHaveBeenCalled();
});

test("more than fit are covered by one that invalidates everything", async () => {
  const transport = heldTransport();
  const all = vi.fn(async () => {});
  const invalidations = new Invalidations(transport.notifier, all);
  for (let i = 0; i < 70_000; i++) invalidations.entry(1, `name-${i}`, false);
  await vi.waitFor(() => expect(transport.waiting()).toBe(1));
  expect(all).not.toHaveBeenCalled();
  transport.carryAll();
  await vi.waitFor(() => expect(all).toHaveBeenCalledOnce());
});

test("after the end nothing is sent", async () => {
  const transport = heldTransport();
  const invalidations = new Invalidations(transport.notifier, async () => {});
  invalidations.inode(2, false);
  invalidations.inode(3, false);
  invalidations.close();
  transport.carryAll();
  invalidations.inode(4, false);
  await new Promise((resolve) => setImmediate(resolve));
  expect([transport.sent(), transport.waiting()]).toEqual([1, 0]);
});
