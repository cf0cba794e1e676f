import { SupermachineError } from "../errors.js";

/** `NAME=value`, or `NAME` to pass on the caller's value. */
export function parseEnvironment(assignments: readonly string[]): Record<string, string> {
  const env: Record<string, string> = {};
  for (const assignment of assignments) {
    const at = assignment.indexOf("=");
    const name = at === -1 ? assignment : assignment.slice(0, at);
    if (name === "") {
      throw new SupermachineError("ERR_OPTION", `--env ${assignment}: write NAME=value or NAME`);
    }
    const value = at === -1 ? process.env[name] : assignment.slice(at + 1);
    if (value !== undefined) env[name] = value;
  }
  return env;
}
