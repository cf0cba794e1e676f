import { readFileSync } from "node:fs";
import { EINVAL, EPERM, S_ISGID } from "@supermachine/fuse-protocol";
import type { RequestContext } from "@supermachine/fuse-server";
import { isPortable } from "../platform/host.js";
import { CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH, CAP_MKNOD } from "../syscalls/constants.js";
import {
  capget,
  capset,
  effectiveIds,
  getgroups,
  setfsgid,
  setfsuid,
  setThreadGroups,
} from "../syscalls/credentials.js";
import type { IdMap } from "./id-map.js";

const S_IXGRP = 0o010;
/** (uid_t) -1: to these system calls it means "no change", so it must not come from a guest. */
const NO_ID = 0xffff_ffff;
const NOBODY = 65534;
const OVERRIDES = (1 << CAP_DAC_OVERRIDE) | (1 << CAP_DAC_READ_SEARCH);

/** The supplementary groups of a process; none of one that is not there. */
function groupsOf(pid: number): readonly number[] {
  try {
    const status = readFileSync(`/proc/${pid}/status`, "latin1");
    const line = /^Groups:(.*)$/m.exec(status)?.[1] ?? "";
    return Array.from(line.matchAll(/\d+/g), ([group]) => Number(group));
  } catch {
    return [];
  }
}

/**
 * Makes new files belong to the guest's caller from their first instant, by taking on its ids for the one
 * system call that creates them. So the kernel itself applies the rules of set-group-id directories
 * and drops a set-group-id bit that the caller may not give (CVE-2022-0358); a chown afterwards would
 * have to find a new directory by name again, and could hit another.
 *
 * File system ids, groups and capabilities belong to the thread in Linux, and everything between `assume`
 * and `restore` is synchronous, so no other code of the process ever runs with them.
 */
export class Caller {
  readonly #enabled: boolean;
  readonly #uid: number;
  readonly #gid: number;
  readonly #groups: readonly number[];
  /** Files are made as this process's and then given to the caller: there are no ids of single threads. */
  readonly givesFiles: boolean;
  /** The processes of the client are processes of this host. */
  seesProcesses = false;
  readonly #uids: IdMap | undefined;
  readonly #gids: IdMap | undefined;
  #assumed = false;
  #groupsChanged = false;

  /** @param uids - How the client's ids become the host's; undefined: they are the same. */
  constructor(uids?: IdMap, gids?: IdMap) {
    this.#uids = uids;
    this.#gids = gids;
    const { uid, gid } = effectiveIds();
    this.#uid = uid;
    this.#gid = gid;
    this.#groups = isPortable ? [] : getgroups();
    this.#enabled = uid === 0 && !isPortable && capget() && this.#canSwitch();
    this.givesFiles = uid === 0 && isPortable;
  }

  /** The user of this process. */
  get ownUid(): number {
    return this.#uid;
  }

  /** Whether files are created as the caller; otherwise they belong to the user of this process. */
  get enabled(): boolean {
    return this.#enabled;
  }

  /** The host's user id for one of the client; -1 for one that the client may not use. */
  hostUid(uid: number): number {
    return this.#uids === undefined ? uid : this.#uids.toHost(uid);
  }

  hostGid(gid: number): number {
    return this.#gids === undefined ? gid : this.#gids.toHost(gid);
  }

  /**
   * Whether the caller is in a group of the host. Requests name its first group alone; the others can be looked
   * up where the client is the kernel of this host, whose processes are those here.
   */
  isMember(ctx: RequestContext, gid: number): boolean {
    if (this.hostGid(ctx.gid) === gid) return true;
    const more = ctx.supplementaryGroup;
    if (more !== undefined && this.hostGid(more) === gid) return true;
    return this.seesProcesses && groupsOf(ctx.pid).some((group) => this.hostGid(group) === gid);
  }

  /**
   * Takes on the ids of `ctx`; 0 or a negated errno. Call {@link restore} afterwards in any case.
   *
   * @param mode - That of the file to be made.
   * @param makesDevice - It is a device node, which this process must be allowed to make.
   */
  assume(ctx: RequestContext, mode: number, makesDevice = false): number {
    const uid = this.hostUid(ctx.uid);
    const gid = this.hostGid(ctx.gid);
    if (uid < 0 || gid < 0) return -EPERM;
    if (this.givesFiles && (uid === NO_ID || gid === NO_ID)) return -EINVAL;
    if (!this.#enabled || (uid === this.#uid && gid === this.#gid)) return 0;
    if ((mode & (S_ISGID | S_IXGRP)) === (S_ISGID | S_IXGRP) && uid !== 0) {
      const group = ctx.supplementaryGroup;
      const failure = this.#takeGroups(group === undefined ? [] : [this.hostGid(group)]);
      if (failure < 0) return failure;
    }
    const failure = this.#take(uid, gid);
    if (failure < 0) return failure;
    // The client's kernel has checked the directory's permissions, with all groups of the caller: of the
    // capabilities that a file system id other than 0 takes away, bring back those that override them.
    if (uid !== 0) capset(OVERRIDES | (makesDevice ? 1 << CAP_MKNOD : 0));
    return 0;
  }

  /** As {@link assume}, to ask the host's kernel what the caller may do: without any privilege. */
  assumeToAsk(ctx: RequestContext): number {
    const uid = this.hostUid(ctx.uid);
    const gid = this.hostGid(ctx.gid);
    if (uid < 0 || gid < 0) return -EPERM;
    if (!this.#enabled || uid === 0) return 0;
    const failure = this.#takeGroups([]);
    return failure < 0 ? failure : this.#take(uid, gid);
  }

  #take(uid: number, gid: number): number {
    if (uid === NO_ID || gid === NO_ID) return -EINVAL;
    this.#assumed = true;
    return setfsgid(gid) && setfsuid(uid) ? 0 : -EPERM;
  }

  /** Groups of this process must not make the caller a member of a file's group. */
  #takeGroups(groups: readonly number[]): number {
    this.#assumed = true;
    this.#groupsChanged = true;
    return setThreadGroups(groups) < 0 ? -EPERM : 0;
  }

  restore(): void {
    if (!this.#assumed) return;
    this.#assumed = false;
    setfsuid(this.#uid);
    setfsgid(this.#gid);
    if (this.#groupsChanged) {
      this.#groupsChanged = false;
      setThreadGroups(this.#groups);
    }
    capset("initial");
  }

  /** Root may lack CAP_SETUID and CAP_SETGID, in a container for one. */
  #canSwitch(): boolean {
    const able = setfsgid(NOBODY) && setfsuid(NOBODY);
    setfsuid(this.#uid);
    setfsgid(this.#gid);
    capset("initial");
    return able;
  }
}
