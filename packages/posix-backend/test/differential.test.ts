import {
  chmodSync,
  closeSync,
  constants,
  ftruncateSync,
  linkSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmdirSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import { errnoName, FATTR_MODE, FATTR_SIZE, O_RDWR, O_WRONLY } from "@supermachine/fuse-protocol";
import { requireFacility, runs, TemporaryDirectory } from "@supermachine-internal/testing";
import fc from "fast-check";
import { expect } from "vitest";
import { asRoot, Client, root } from "./client.js";

/** A name in a directory; `directory` is undefined for the root. */
interface Place {
  readonly directory: string | undefined;
  readonly name: string;
}

type Step =
  | { readonly kind: "mkdir" | "unlink" | "rmdir" | "readdir" | "readlink"; readonly at: Place }
  | { readonly kind: "create" | "chmod"; readonly at: Place; readonly mode: number }
  | { readonly kind: "write"; readonly at: Place; readonly offset: number; readonly text: string }
  | { readonly kind: "truncate"; readonly at: Place; readonly size: number }
  | { readonly kind: "rename" | "link"; readonly at: Place; readonly to: Place }
  | { readonly kind: "symlink"; readonly at: Place; readonly target: string };

/** What a step gave: a result, or the name of an errno. */
type Outcome = string | number;

function nativeStep(base: string, step: Step): Outcome {
  const path = ({ directory, name }: Place): string => {
    if (directory === undefined) return join(base, name);
    const parent = join(base, directory);
    // The client resolves no links: a link in the middle of a path is no directory.
    if (!lstatSync(parent).isDirectory()) throw Object.assign(new Error(), { code: "ENOTDIR" });
    return join(parent, name);
  };
  const onFile = (flags: number, change?: (fd: number) => void, mode?: number): number => {
    const fd = openSync(path(step.at), flags | constants.O_NOFOLLOW, mode);
    change?.(fd);
    closeSync(fd);
    return 0;
  };
  try {
    const at = path(step.at);
    switch (step.kind) {
      case "mkdir":
        mkdirSync(at, 0o755);
        return 0;
      case "unlink":
        unlinkSync(at);
        return 0;
      case "rmdir":
        rmdirSync(at);
        return 0;
      case "readdir":
        if (lstatSync(at).isSymbolicLink()) return "ENOTDIR";
        return readdirSync(at).sort().join();
      case "readlink":
        return readlinkSync(at);
      case "create":
        return onFile(O_RDWR | constants.O_CREAT, undefined, step.mode);
      case "chmod":
        if (lstatSync(at).isSymbolicLink()) return "EOPNOTSUPP";
        chmodSync(at, step.mode);
        return 0;
      case "write":
        return onFile(O_WRONLY, (fd) => writeSync(fd, step.text, step.offset));
      case "truncate":
        return onFile(O_WRONLY, (fd) => ftruncateSync(fd, step.size));
      case "rename":
        renameSync(at, path(step.to));
        return 0;
      case "link":
        if (lstatSync(at).isDirectory()) {
          path(step.to);
          return "EPERM";
        }
        linkSync(at, path(step.to));
        return 0;
      case "symlink":
        symlinkSync(step.target, at);
        return 0;
    }
  } catch (error) {
    return (error as NodeJS.ErrnoException).code ?? String(error);
  }
}

class Failure extends Error {}

/** A step on the backend, looking names up and forgetting them as a client's kernel does. */
function backendStep(client: Client, step: Step): Outcome {
  const held: number[] = [];
  try {
    return runStep(client, step, held);
  } catch (error) {
    if (error instanceof Failure) return error.message;
    throw error;
  } finally {
    for (const nodeid of held) client.backend.forget(nodeid, 1);
  }
}

/** Adds every node that it is given to `held`. */
function runStep(client: Client, step: Step, held: number[]): Outcome {
  const { backend, entry, opened } = client;
  const attempt = (result: number): number => {
    if (result < 0) throw new Failure(errnoName(result));
    return result;
  };
  const find = (parent: number, name: string): number => {
    attempt(backend.lookup(asRoot, parent, name, entry));
    held.push(entry.nodeid);
    return entry.nodeid;
  };
  const parentOf = (at: Place): number => {
    if (at.directory === undefined) return root;
    const nodeid = find(root, at.directory);
    if ((entry.attr.mode & constants.S_IFMT) !== constants.S_IFDIR) throw new Failure("ENOTDIR");
    return nodeid;
  };
  const made = (result: number): number => {
    attempt(result);
    held.push(entry.nodeid);
    return 0;
  };
  const parent = parentOf(step.at);
  const { name } = step.at;
  switch (step.kind) {
    case "mkdir":
      return made(backend.mkdir(asRoot, parent, name, 0o755, 0, entry));
    case "unlink":
      return attempt(backend.unlink(asRoot, parent, name));
    case "rmdir":
      return attempt(backend.rmdir(asRoot, parent, name));
    case "readdir": {
      const nodeid = find(parent, name);
      attempt(backend.opendir(asRoot, nodeid, 0, opened));
      backend.releasedir(asRoot, nodeid, opened.fh);
      return client.list(nodeid).sort().join();
    }
    case "readlink": {
      const target = Buffer.alloc(4096);
      const length = attempt(backend.readlink(asRoot, find(parent, name), target));
      return target.toString("utf8", 0, length);
    }
    case "create": {
      const { mode } = step;
      made(backend.create(asRoot, parent, name, mode, 0, O_RDWR, entry, opened, 0));
      backend.release(asRoot, entry.nodeid, opened.fh);
      return 0;
    }
    case "chmod": {
      const change = { valid: FATTR_MODE, mode: step.mode };
      return client.setattr(find(parent, name), change);
    }
    case "write": {
      const nodeid = find(parent, name);
      attempt(backend.open(asRoot, nodeid, O_WRONLY, opened, 0));
      client.write(opened.fh, step.text, step.offset);
      backend.release(asRoot, nodeid, opened.fh);
      return 0;
    }
    case "truncate": {
      const nodeid = find(parent, name);
      // As ftruncate(2): by an open file.
      attempt(backend.open(asRoot, nodeid, O_WRONLY, opened, 0));
      const { fh } = opened;
      const result = client.setattr(nodeid, { valid: FATTR_SIZE, size: step.size }, fh);
      backend.release(asRoot, nodeid, fh);
      return result;
    }
    case "rename":
      return attempt(backend.rename(asRoot, parent, name, parentOf(step.to), step.to.name, 0));
    case "link": {
      const nodeid = find(parent, name);
      return made(backend.link(asRoot, nodeid, parentOf(step.to), step.to.name, entry));
    }
    case "symlink":
      return made(backend.symlink(asRoot, parent, name, step.target, entry));
  }
}

/** Every name below `path`, with what is there. */
function snapshot(path: string, prefix = ""): string[] {
  return readdirSync(path)
    .sort()
    .flatMap((name) => {
      const at = join(path, name);
      const { mode, nlink } = lstatSync(at);
      const shown = `${prefix}${name} ${mode.toString(8)} ${nlink}`;
      if ((mode & constants.S_IFMT) === constants.S_IFDIR) {
        return [shown, ...snapshot(at, `${prefix}${name}/`)];
      }
      const isLink = (mode & constants.S_IFMT) === constants.S_IFLNK;
      return [`${shown} ${isLink ? readlinkSync(at) : readFileSync(at, "latin1")}`];
    });
}

const name = fc.constantFrom("a", "b", "c");
const place: fc.Arbitrary<Place> = fc.record({
  directory: fc.option(fc.constantFrom("a", "b", "c"), { nil: undefined }),
  name,
});
const mode = fc.constantFrom(0o644, 0o600, 0o755, 0o444, 0o4755);
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 3, arbitrary: fc.record({ kind: fc.constant("mkdir" as const), at: place }) },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constantFrom(
        "unlink" as const,
        "rmdir" as const,
        "readdir" as const,
        "readlink" as const,
      ),
      at: place,
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constantFrom("create" as const, "chmod" as const),
      at: place,
      mode,
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant("write" as const),
      at: place,
      offset: fc.nat(20),
      text: fc.constantFrom("x", "hello", ""),
    }),
  },
  fc.record({ kind: fc.constant("truncate" as const), at: place, size: fc.nat(30) }),
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constantFrom("rename" as const, "link" as const),
      at: place,
      to: place,
    }),
  },
  fc.record({
    kind: fc.constant("symlink" as const),
    at: place,
    target: fc.constantFrom("a", "b/c", "../x", "/etc/passwd"),
  }),
);

requireFacility("linux", "root").test(
  "any sequence of operations does what it does on the directory itself",
  () => {
    const before = process.umask(0);
    try {
      fc.assert(
        fc.property(fc.array(step, { minLength: 1, maxLength: 60, size: "max" }), (steps) => {
          using dir = new TemporaryDirectory();
          const native = join(dir.path, "native");
          const shared = join(dir.path, "shared");
          for (const path of [native, shared]) {
            for (const each of ["a", "a/b", "b"]) mkdirSync(join(path, each), { recursive: true });
            for (const each of ["c", "a/c", "a/a"]) writeFileSync(join(path, each), each);
          }
          using client = new Client(shared);
          for (const [index, each] of steps.entries()) {
            const expected = nativeStep(native, each);
            expect([index, each.kind, backendStep(client, each)]).toEqual([
              index,
              each.kind,
              expected,
            ]);
          }
          expect(snapshot(shared)).toEqual(snapshot(native));
          expect(client.backend.inodeCount).toBe(1);
          expect(client.backend.handleCount).toBe(0);
        }),
        { numRuns: runs(100) },
      );
    } finally {
      process.umask(before);
    }
  },
);
