/**
 * The conformance suite of hypervisor drivers, for vitest. Its guests are a few hand-assembled
 * instructions each, so it runs on hardware, nested, and on hypervisors that interpret.
 *
 * @packageDocumentation
 */
import { afterAll, beforeAll, describe } from "vitest";
import { testDoorbells } from "./conformance/doorbells.js";
import { testInterrupts } from "./conformance/interrupts.js";
import { testKicks } from "./conformance/kicks.js";
import { testLifetime } from "./conformance/lifetime.js";
import { testMemory } from "./conformance/memory.js";
import { testModes } from "./conformance/modes.js";
import { testMmio, testPortIo } from "./conformance/port-and-memory-io.js";
import { testRegisters } from "./conformance/registers.js";
import { testSnapshots } from "./conformance/snapshots.js";
import { testSpeed } from "./conformance/speed.js";
import { type ConformanceEvent, createSuite } from "./conformance/suite.js";
import { DriverThread } from "./conformance/thread.js";
import type { Hypervisor } from "./hypervisor.js";

export type { ConformanceEvent } from "./conformance/suite.js";

/** Options of {@link testHypervisor}. */
export interface ConformanceOptions {
  /**
   * A JavaScript module that exports `createHypervisor(): Hypervisor`. Worker threads import it, so it
   * is the driver's build, not its TypeScript source.
   */
  readonly driverModule: URL;
  /** Makes an eventfd, for drivers with irqfd or ioeventfd. */
  readonly createEvent: () => ConformanceEvent;
}

/**
 * Declares the tests that every hypervisor driver must pass. All of them are skipped, with the reason
 * in the name, where the hypervisor is not available.
 */
export function testHypervisor(create: () => Hypervisor, options: ConformanceOptions): void {
  const hypervisor = create();
  const availability = hypervisor.isAvailable();
  const title = availability.usable
    ? `${hypervisor.name} conforms to the hypervisor seam`
    : `${hypervisor.name} conforms to the hypervisor seam [needs ${hypervisor.name}: ${availability.reason}]`;
  describe.skipIf(!availability.usable)(title, () => {
    let thread: DriverThread | undefined;
    beforeAll(async () => {
      thread = await DriverThread.start(options.driverModule);
    });
    afterAll(() => thread?.stop());
    const suite = createSuite(
      hypervisor,
      () => {
        if (thread === undefined) throw new Error("the second thread has not started");
        return thread;
      },
      options.createEvent,
    );
    describe("port I/O", () => testPortIo(suite));
    describe("memory-mapped I/O", () => testMmio(suite));
    describe("processor modes", () => testModes(suite));
    describe("memory slots", () => testMemory(suite));
    describe("registers", () => testRegisters(suite));
    describe("interrupts", () => testInterrupts(suite));
    describe("doorbells", () => testDoorbells(suite));
    describe("kicks and threads", () => testKicks(suite));
    describe("snapshots", () => testSnapshots(suite));
    describe("lifetime", () => testLifetime(suite));
    describe("speed", () => testSpeed(suite));
  });
}
