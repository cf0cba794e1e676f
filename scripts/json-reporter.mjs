// @ts-check
// vitest's JSON reporter, which leaves out why a test skipped itself (`context.skip(reason)`).
import { JsonReporter } from "vitest/node";

// biome-ignore lint/style/noDefaultExport: how vitest loads a reporter
export default class JsonReporterWithReasons extends JsonReporter {
  /**
   * @override
   * @param {Parameters<JsonReporter["onTestRunEnd"]>[0]} testModules
   */
  async onTestRunEnd(testModules) {
    for (const testModule of testModules)
      for (const test of testModule.children.allTests("skipped")) {
        const result = test.result();
        if (result.state === "skipped" && result.note !== undefined)
          Object.assign(test.meta(), { skipReason: result.note });
      }
    await super.onTestRunEnd(testModules);
  }
}
