// @ts-check
// Progress of the scripts: one line a step, with the time it took.

/** @param {number} milliseconds */
export const seconds = (milliseconds) => `${(milliseconds / 1000).toFixed(1)} s`;

/**
 * Run a step and print its line: `ok NAME: DETAIL (TIME)`. A step of more than a second is announced,
 * so that nobody looks at a still screen.
 *
 * @template {string | void} T
 * @param {string} name
 * @param {() => Promise<T>} work returns what to say about the result, if anything
 * @returns {Promise<T>}
 */
export async function step(name, work) {
  const started = performance.now();
  const announcement = setTimeout(() => process.stdout.write(`.. ${name}\n`), 1000);
  try {
    const detail = await work();
    const time = seconds(performance.now() - started);
    process.stdout.write(`ok ${name}${detail ? `: ${detail}` : ""} (${time})\n`);
    return detail;
  } catch (error) {
    process.stdout.write(`FAILED ${name} (${seconds(performance.now() - started)})\n`);
    throw error;
  } finally {
    clearTimeout(announcement);
  }
}
