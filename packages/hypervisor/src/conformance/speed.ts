import { expect, test } from "vitest";
import { measureGuestSpeed } from "../guest-speed.js";
import type { Suite } from "./suite.js";

/** The measurement that lets a caller choose another hypervisor. */
export function testSpeed(suite: Suite): void {
  test("the speed of guests can be measured", () => {
    const { instructionsPerSecond } = measureGuestSpeed(suite.hypervisor);
    // Slower than a 1980s processor, or faster than any: the measurement is wrong.
    expect(instructionsPerSecond).toBeGreaterThan(100_000);
    expect(instructionsPerSecond).toBeLessThan(1e11);
  });
}
