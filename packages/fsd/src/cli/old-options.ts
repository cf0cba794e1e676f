import { FsdError } from "../error.js";

/**
 * What each word after `-o` of the older virtiofsd, in C, is among today's options.
 */
const replacements: ReadonlyMap<string, readonly string[]> = new Map([
  ["source", ["--shared-dir"]],
  ["cache", ["--cache"]],
  ["log_level", ["--log-level"]],
  ["sandbox", ["--sandbox"]],
  ["modcaps", ["--modcaps"]],
  ["xattrmap", ["--xattr", "--xattrmap"]],
  ["timeout", ["--timeout"]],
  ["debug", ["--log-level", "debug"]],
  ["xattr", ["--xattr"]],
  ["no_xattr", []],
  ["posix_acl", ["--posix-acl"]],
  ["no_posix_acl", []],
  ["writeback", ["--writeback"]],
  ["no_writeback", []],
  ["announce_submounts", ["--announce-submounts"]],
  ["flock", ["--locks"]],
  ["no_flock", []],
  ["posix_lock", ["--locks"]],
  ["no_posix_lock", []],
  ["readdirplus", []],
  ["no_readdirplus", ["--no-readdirplus"]],
  ["allow_direct_io", ["--allow-direct-io"]],
  ["no_allow_direct_io", []],
  ["killpriv_v2", ["--killpriv-v2"]],
  ["no_killpriv_v2", ["--no-killpriv-v2"]],
  ["security_label", ["--security-label"]],
  ["no_security_label", []],
  ["allow_root", []],
]);
const takesValue = new Set([
  "source",
  "cache",
  "log_level",
  "sandbox",
  "modcaps",
  "xattrmap",
  "timeout",
]);
/** Words whose values matter to nobody any more. */
const ignored = new Set(["max_idle_threads", "vhost_user_socket"]);
const levels: ReadonlyMap<string, string> = new Map([["err", "error"]]);

/** Turns `-o source=/srv,cache=none,xattr` into today's options. Throws {@link FsdError} `ERR_FSD_OPTION`. */
export function withoutOldOptions(args: readonly string[]): string[] {
  const result: string[] = [];
  for (let i = 0; i < args.length; i++) {
    const argument = args[i] ?? "";
    if (argument === "-d") result.push("--log-level", "debug");
    else if (argument === "-o") result.push(...translate(args[++i] ?? ""));
    else if (/^-o./.test(argument)) result.push(...translate(argument.slice(2)));
    // The daemon always stays in the foreground.
    else if (argument !== "-f") result.push(argument);
  }
  return result;
}

function translate(list: string): string[] {
  // A backslash keeps a comma inside a value.
  const words = list.match(/(?:\\.|[^,\\])+/g) ?? [];
  return words.flatMap((word) => {
    const [, name = "", value] = /^([^=]*)(?:=(.*))?$/s.exec(word.replaceAll(/\\(.)/g, "$1")) ?? [];
    if (ignored.has(name)) return [];
    const options = replacements.get(name);
    if (options === undefined || takesValue.has(name) !== (value !== undefined)) {
      throw new FsdError("ERR_FSD_OPTION", `-o ${word}: there is no such option`);
    }
    if (value === undefined) return [...options];
    return [...options.slice(0, -1), `${options.at(-1)}=${levels.get(value) ?? value}`];
  });
}
