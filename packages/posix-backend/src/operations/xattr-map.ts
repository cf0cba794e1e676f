import { EOPNOTSUPP, EPERM } from "@supermachine/fuse-protocol";
import { PosixBackendError } from "../error.js";

interface Rule {
  readonly type: "prefix" | "ok" | "bad" | "unsupported";
  /** Applies to names that the client asks for, which begin with `key`. */
  readonly client: boolean;
  /** Applies to names that the host lists, which begin with `prepend`. */
  readonly server: boolean;
  readonly key: string;
  readonly prepend: string;
}

/** Many more than anyone writes: each name that is asked for or listed is compared with all. */
const MAX_RULES = 256;

function invalid(why: string): PosixBackendError {
  return new PosixBackendError("ERR_POSIX_OPTION", `xattrMap: ${why}`);
}

function isRuleType(type: string): type is Rule["type"] {
  return type === "prefix" || type === "ok" || type === "bad" || type === "unsupported";
}

/** What the short form `:map:key:prepend:` stands for. */
function expandMap(key: string, prepend: string): Rule[] {
  const both = { client: true, server: true };
  const prefix: Rule = { type: "prefix", ...both, key, prepend };
  if (key === "") return [prefix, { type: "bad", ...both, key: "", prepend: "" }];
  return [
    prefix,
    { type: "bad", client: false, server: true, key: "", prepend: key },
    { type: "bad", client: true, server: false, key: prepend, prepend: "" },
    { type: "ok", ...both, key: "", prepend: "" },
  ];
}

function parseRules(text: string): Rule[] {
  const rules: Rule[] = [];
  let rest = text.trimStart();
  while (rest !== "") {
    const separator = rest.charAt(0);
    const fields = rest.slice(1).split(separator, 5);
    const [type = "", scope = "", key = "", prepend = ""] = fields;
    const isMap = type === "map";
    const used = isMap ? 3 : 4;
    if (fields.length <= used) {
      throw invalid(`rule "${rest.trim()}" does not end; write :type:scope:key:prepend:`);
    }
    rest = rest.slice(fields.slice(0, used).join(separator).length + 2).trimStart();
    if (isMap) {
      if (rest !== "") throw invalid("nothing may follow a map rule");
      rules.push(...expandMap(scope, key));
      break;
    }
    if (!isRuleType(type)) {
      throw invalid(`rule type "${type}"; use prefix, ok, bad, unsupported or map`);
    }
    if (scope !== "client" && scope !== "server" && scope !== "all") {
      throw invalid(`scope "${scope}"; use client, server or all`);
    }
    rules.push({ type, client: scope !== "server", server: scope !== "client", key, prepend });
    if (rules.length > MAX_RULES) throw invalid(`there are more than ${MAX_RULES} rules`);
  }
  return rules;
}

/**
 * Translates names of extended attributes between a client and the host, by the rules of virtiofsd's
 * `--xattrmap`: the first rule that matches a name decides. Its `ok` lets the name pass, `prefix` puts
 * `prepend` before the client's name and takes it off the host's, `bad` and `unsupported` refuse the
 * client's name and hide the host's.
 */
export class XattrMap {
  readonly #rules: readonly Rule[];

  /** Throws `PosixBackendError` `ERR_POSIX_OPTION`. */
  constructor(text: string) {
    this.#rules = parseRules(text);
    const isLast = (rule: Rule) => rule.client && rule.key === "";
    const isLastOfServer = (rule: Rule) => rule.server && rule.prepend === "";
    if (!this.#rules.some(isLast) || !this.#rules.some(isLastOfServer)) {
      throw invalid("no rule matches all other names; end it with :ok:all::: or :bad:all:::");
    }
  }

  /** The host's name for one that the client asks for; -EPERM or -EOPNOTSUPP for one it may not have. */
  toHost(name: string): string | number {
    for (const { type, client, key, prepend } of this.#rules) {
      if (!client || !name.startsWith(key)) continue;
      if (type === "ok") return name;
      if (type === "prefix") return prepend + name;
      return type === "bad" ? -EPERM : -EOPNOTSUPP;
    }
    return -EPERM;
  }

  /**
   * The client's name for one that the host lists; undefined for one that is hidden. A name that
   * {@link toHost} would not lead back is hidden too, since asking for it would fail or reach another.
   */
  toClient(name: string): string | undefined {
    for (const { type, server, prepend } of this.#rules) {
      if (!server || !name.startsWith(prepend)) continue;
      if (type === "bad" || type === "unsupported") return undefined;
      const shown = type === "ok" ? name : name.slice(prepend.length);
      return shown !== "" && this.toHost(shown) === name ? shown : undefined;
    }
    return undefined;
  }
}
