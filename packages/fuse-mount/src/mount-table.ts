import { readFileSync } from "node:fs";

export interface MountTableEntry {
  /** `major:minor` of the file system; the minor number names a FUSE connection in sysfs. */
  readonly device: string;
  /** The mount point. */
  readonly path: string;
  /** Such as `fuse.supermachine`. */
  readonly type: string;
}

/** The fields hold blanks and backslashes as octal escapes. */
function unescapeOctal(field: string): string {
  return field.replaceAll(/\\([0-7]{3})/g, (_match, digits: string) =>
    String.fromCharCode(Number.parseInt(digits, 8)),
  );
}

/** Reads a table in the format of /proc/self/mountinfo, see proc(5). Skips lines that have none. */
export function parseMountTable(text: string): MountTableEntry[] {
  const entries: MountTableEntry[] = [];
  for (const line of text.split("\n")) {
    const fields = line.split(" ");
    const [, , device, , path] = fields;
    // A variable number of optional fields ends with a hyphen.
    const type = fields[fields.indexOf("-", 6) + 1];
    if (device === undefined || path === undefined || type === undefined) continue;
    if (fields.indexOf("-", 6) === -1) continue;
    entries.push({ device, path: bytesToName(unescapeOctal(path)), type });
  }
  return entries;
}

/** The table is read as bytes, one for each character, since names need not be UTF-8. */
function bytesToName(bytes: string): string {
  return Buffer.from(bytes, "latin1").toString();
}

/** What is mounted on top at an absolute path without symbolic links. Never waits for the mount. */
export function mountedAt(path: string): MountTableEntry | undefined {
  const table = readFileSync("/proc/self/mountinfo", "latin1");
  return parseMountTable(table).findLast((entry) => entry.path === path);
}
