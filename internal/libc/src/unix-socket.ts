import { chmodSync, lstatSync, rmSync, unlinkSync } from "node:fs";
import { check, lastErrno, SystemCallError } from "./errno.js";
import { closeFd, setNonBlocking } from "./fd.js";
import { addressOf } from "./memory.js";
import { lazyFunction } from "./native.js";

/*
 * Unix stream sockets that carry file descriptors (SCM_RIGHTS, see unix(7) and cmsg(3)), which
 * node:net cannot. Linux on a 64-bit processor only: the layouts below differ elsewhere.
 */

const AF_UNIX = 1;
const SOCK_STREAM = 1;
const SOCK_CLOEXEC = 0x80000;
const SOCK_NONBLOCK = 0x800;
const SOL_SOCKET = 1;
const SCM_RIGHTS = 1;
const MSG_CTRUNC = 0x8;
const MSG_DONTWAIT = 0x40;
const MSG_NOSIGNAL = 0x4000;
const MSG_CMSG_CLOEXEC = 0x4000_0000;
const EINTR = 4;
const EAGAIN = 11;
const EMFILE = 24;
const ECONNABORTED = 103;
/** The most descriptors the kernel accepts in one message. */
const SCM_MAX_FD = 253;

/** `sizeof` and `offsetof` of the C library's structs; compared with its headers by a test. */
export const socketLayout = {
  sockaddr_un: { size: 110, sun_path: 2 },
  iovec: { size: 16, iov_base: 0, iov_len: 8 },
  msghdr: {
    size: 56,
    msg_iov: 16,
    msg_iovlen: 24,
    msg_control: 32,
    msg_controllen: 40,
    msg_flags: 48,
  },
  cmsghdr: { size: 16, cmsg_len: 0, cmsg_level: 8, cmsg_type: 12 },
} as const;

const { sockaddr_un, iovec, msghdr, cmsghdr } = socketLayout;

const socketNative = lazyFunction<(domain: number, type: number, protocol: number) => number>(
  "int socket(int domain, int type, int protocol)",
);
const bindNative = lazyFunction<(fd: number, address: Uint8Array, length: number) => number>(
  "int bind(int sockfd, const void *addr, uint32_t addrlen)",
);
const connectNative = lazyFunction<(fd: number, address: Uint8Array, length: number) => number>(
  "int connect(int sockfd, const void *addr, uint32_t addrlen)",
);
const listenNative = lazyFunction<(fd: number, backlog: number) => number>(
  "int listen(int sockfd, int backlog)",
);
const accept4Native = lazyFunction<
  (fd: number, address: null, length: null, flags: number) => number
>("int accept4(int sockfd, void *addr, void *addrlen, int flags)");
const recvmsgNative = lazyFunction<(fd: number, message: Uint8Array, flags: number) => number>(
  "intptr_t recvmsg(int sockfd, void *msg, int flags)",
);
const sendmsgNative = lazyFunction<(fd: number, message: Uint8Array, flags: number) => number>(
  "intptr_t sendmsg(int sockfd, const void *msg, int flags)",
);

function socketAddress(path: string): Uint8Array {
  const bytes = Buffer.from(path, "utf8");
  const room = sockaddr_un.size - sockaddr_un.sun_path - 1;
  if (bytes.length === 0 || bytes.length > room || bytes.includes(0)) {
    throw new RangeError(
      `a Unix socket path has 1 to ${room} bytes, this has ${bytes.length}: ${path}`,
    );
  }
  const address = Buffer.alloc(sockaddr_un.size);
  address.writeUInt16LE(AF_UNIX, 0);
  bytes.copy(address, sockaddr_un.sun_path);
  return address;
}

function newSocket(): number {
  return check(socketNative(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), "socket");
}

/** The message header, one iovec and room for control data, reused by every call of this thread. */
class MessageBuffer {
  readonly header = Buffer.alloc(msghdr.size);
  readonly #vector = Buffer.alloc(iovec.size);
  readonly control = Buffer.alloc(cmsghdr.size + SCM_MAX_FD * 4 + 4);

  constructor() {
    this.header.writeBigUInt64LE(addressOf(this.#vector), msghdr.msg_iov);
    this.header.writeBigUInt64LE(1n, msghdr.msg_iovlen);
    this.header.writeBigUInt64LE(addressOf(this.control), msghdr.msg_control);
  }

  point(bytes: Uint8Array, controlLength: number): void {
    this.#vector.writeBigUInt64LE(addressOf(bytes), iovec.iov_base);
    this.#vector.writeBigUInt64LE(BigInt(bytes.length), iovec.iov_len);
    this.header.writeBigUInt64LE(BigInt(controlLength), msghdr.msg_controllen);
    this.header.writeUInt32LE(0, msghdr.msg_flags);
  }

  /** Appends the descriptors of a received message to `fds`. */
  takeDescriptors(fds: number[]): void {
    const end = Number(this.header.readBigUInt64LE(msghdr.msg_controllen));
    for (let at = 0; at + cmsghdr.size <= end; ) {
      const length = Number(this.control.readBigUInt64LE(at + cmsghdr.cmsg_len));
      if (length < cmsghdr.size) break;
      const rights =
        this.control.readInt32LE(at + cmsghdr.cmsg_level) === SOL_SOCKET &&
        this.control.readInt32LE(at + cmsghdr.cmsg_type) === SCM_RIGHTS;
      for (let fd = at + cmsghdr.size; rights && fd + 4 <= at + length; fd += 4) {
        fds.push(this.control.readInt32LE(fd));
      }
      at += (length + 7) & ~7;
    }
  }
}

let reusedMessage: MessageBuffer | undefined;

function message(): MessageBuffer {
  reusedMessage ??= new MessageBuffer();
  return reusedMessage;
}

/** A connected, non-blocking Unix stream socket that can carry file descriptors. */
export class UnixSocket implements Disposable {
  readonly fd: number;
  #open = true;

  /** Takes ownership of a connected Unix stream socket. Reads and writes never block it. */
  constructor(fd: number) {
    this.fd = fd;
  }

  /** Connects to the listener at `path`. Throws {@link SystemCallError}, also when its queue is full. */
  static connect(path: string): UnixSocket {
    const address = socketAddress(path);
    const fd = newSocket();
    if (connectNative(fd, address, address.length) === -1) {
      const errno = lastErrno();
      closeFd(fd);
      throw new SystemCallError("connect", errno, path);
    }
    return new UnixSocket(fd);
  }

  /**
   * Reads up to `bytes.length` bytes (at least one is asked for). Descriptors that came with them are
   * appended to `fds`, close-on-exec, and belong to the caller, also when this throws.
   * Returns the bytes read, 0 at the end of the stream, `undefined` when nothing is there yet.
   */
  receive(bytes: Uint8Array, fds: number[]): number | undefined {
    const m = message();
    for (;;) {
      m.point(bytes, m.control.length);
      const length = recvmsgNative(this.fd, m.header, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
      if (length !== -1) {
        m.takeDescriptors(fds);
        if (m.header.readUInt32LE(msghdr.msg_flags) & MSG_CTRUNC) {
          // The control buffer has room for all the kernel allows, so it could not install them.
          throw new SystemCallError("recvmsg", EMFILE, "file descriptors were lost");
        }
        return length;
      }
      const errno = lastErrno();
      if (errno === EAGAIN) return undefined;
      if (errno !== EINTR) throw new SystemCallError("recvmsg", errno);
    }
  }

  /**
   * Sends `bytes`, at least one, with duplicates of `fds`. Returns how many bytes the socket took
   * (the descriptors travel with the first), `undefined` when it has no room.
   */
  send(bytes: Uint8Array, fds: readonly number[] = []): number | undefined {
    if (fds.length > SCM_MAX_FD) throw new RangeError(`${fds.length} descriptors in one message`);
    const m = message();
    const controlLength = fds.length === 0 ? 0 : cmsghdr.size + fds.length * 4;
    if (fds.length > 0) {
      m.control.writeBigUInt64LE(BigInt(controlLength), cmsghdr.cmsg_len);
      m.control.writeInt32LE(SOL_SOCKET, cmsghdr.cmsg_level);
      m.control.writeInt32LE(SCM_RIGHTS, cmsghdr.cmsg_type);
      for (const [i, fd] of fds.entries()) m.control.writeInt32LE(fd, cmsghdr.size + i * 4);
    }
    for (;;) {
      m.point(bytes, controlLength);
      const length = sendmsgNative(this.fd, m.header, MSG_NOSIGNAL | MSG_DONTWAIT);
      if (length !== -1) return length;
      const errno = lastErrno();
      if (errno === EAGAIN) return undefined;
      if (errno !== EINTR) throw new SystemCallError("sendmsg", errno);
    }
  }

  close(): void {
    if (!this.#open) return;
    this.#open = false;
    closeFd(this.fd);
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

/** A listening Unix stream socket, reachable by its owner only (mode 0600). */
export class UnixListener implements Disposable {
  readonly fd: number;
  readonly path: string;
  /** The inode of the socket file that this made; none for an adopted one. */
  readonly #inode: bigint | undefined;
  #open = true;

  private constructor(fd: number, path: string, inode: bigint | undefined) {
    this.fd = fd;
    this.path = path;
    this.#inode = inode;
  }

  /** Takes ownership of a socket that someone else has put to listen; its file is theirs, too. */
  static adopt(fd: number): UnixListener {
    setNonBlocking(fd);
    return new UnixListener(fd, `fd ${fd}`, undefined);
  }

  /** Listens at `path`, which must not exist. Throws {@link SystemCallError}. */
  static listen(path: string): UnixListener {
    const address = socketAddress(path);
    const fd = newSocket();
    let bound = false;
    try {
      check(bindNative(fd, address, address.length), "bind", path);
      bound = true;
      // Nobody can connect before listen(2), so there is no moment with looser permissions.
      chmodSync(path, 0o600);
      const { ino } = lstatSync(path, { bigint: true });
      check(listenNative(fd, 16), "listen", path);
      return new UnixListener(fd, path, ino);
    } catch (error) {
      closeFd(fd);
      if (bound) unlinkSync(path);
      throw error;
    }
  }

  /** The next waiting connection, `undefined` when there is none. */
  accept(): UnixSocket | undefined {
    const fd = accept4Native(this.fd, null, null, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd !== -1) return new UnixSocket(fd);
    const errno = lastErrno();
    // A peer that gave up while waiting (ECONNABORTED) is nobody's error either.
    if (errno === EAGAIN || errno === EINTR || errno === ECONNABORTED) return undefined;
    throw new SystemCallError("accept4", errno, this.path);
  }

  /** Stops listening and removes the socket file, unless another has taken its place. */
  close(): void {
    if (!this.#open) return;
    this.#open = false;
    closeFd(this.fd);
    if (this.#inode === undefined) return;
    const now = lstatSync(this.path, { bigint: true, throwIfNoEntry: false });
    if (now?.ino === this.#inode) rmSync(this.path, { force: true });
  }

  [Symbol.dispose](): void {
    this.close();
  }
}
