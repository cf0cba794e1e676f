/**
 * Errno numbers of macOS (sys/errno.h of XNU) and the Linux numbers of the same meaning, which go on the
 * wire. 1 to 34 are the same on both, but for EDEADLK. A macOS number without a Linux namesake has the
 * nearest that a program of the client knows what to do with.
 */
const renumbered: readonly (readonly [name: string, darwin: number, linux: number])[] = [
  ["EDEADLK", 11, 35],
  ["EAGAIN", 35, 11],
  ["EINPROGRESS", 36, 115],
  ["EALREADY", 37, 114],
  ["ENOTSOCK", 38, 88],
  ["EDESTADDRREQ", 39, 89],
  ["EMSGSIZE", 40, 90],
  ["EPROTOTYPE", 41, 91],
  ["ENOPROTOOPT", 42, 92],
  ["EPROTONOSUPPORT", 43, 93],
  ["ESOCKTNOSUPPORT", 44, 94],
  // macOS tells ENOTSUP and EOPNOTSUPP apart, Linux does not.
  ["ENOTSUP", 45, 95],
  ["EPFNOSUPPORT", 46, 96],
  ["EAFNOSUPPORT", 47, 97],
  ["EADDRINUSE", 48, 98],
  ["EADDRNOTAVAIL", 49, 99],
  ["ENETDOWN", 50, 100],
  ["ENETUNREACH", 51, 101],
  ["ENETRESET", 52, 102],
  ["ECONNABORTED", 53, 103],
  ["ECONNRESET", 54, 104],
  ["ENOBUFS", 55, 105],
  ["EISCONN", 56, 106],
  ["ENOTCONN", 57, 107],
  ["ESHUTDOWN", 58, 108],
  ["ETOOMANYREFS", 59, 109],
  ["ETIMEDOUT", 60, 110],
  ["ECONNREFUSED", 61, 111],
  ["ELOOP", 62, 40],
  ["ENAMETOOLONG", 63, 36],
  ["EHOSTDOWN", 64, 112],
  ["EHOSTUNREACH", 65, 113],
  // Passed on as it is, 66 would be EREMOTE, and rmdir of a directory that is not empty would say so.
  ["ENOTEMPTY", 66, 39],
  ["EUSERS", 68, 87],
  ["EDQUOT", 69, 122],
  ["ESTALE", 70, 116],
  ["EREMOTE", 71, 66],
  ["ENOLCK", 77, 37],
  ["ENOSYS", 78, 38],
  ["EOVERFLOW", 84, 75],
  ["ECANCELED", 89, 125],
  ["EIDRM", 90, 43],
  ["ENOMSG", 91, 42],
  ["EILSEQ", 92, 84],
  // What getxattr(2) gives where Linux gives ENODATA. The other ENODATA is one of streams.
  ["ENODATA", 93, 61],
  ["EBADMSG", 94, 74],
  ["EMULTIHOP", 95, 72],
  ["ENOLINK", 97, 67],
  ["ENOSR", 98, 63],
  ["ENOSTR", 99, 60],
  ["EPROTO", 100, 71],
  ["ETIME", 101, 62],
  ["ENOTRECOVERABLE", 104, 131],
  ["EOWNERDEAD", 105, 130],
];

/** Those of macOS alone. */
const approximated: readonly (readonly [name: string, darwin: number, linux: number])[] = [
  ["EPROCLIM", 67, 11],
  ["EFTYPE", 79, 22],
  ["EAUTH", 80, 13],
  ["ENEEDAUTH", 81, 13],
  ["EPWROFF", 82, 5],
  ["EDEVERR", 83, 5],
  ["EBADEXEC", 85, 8],
  ["EBADARCH", 86, 8],
  ["ESHLIBVERS", 87, 8],
  ["EBADMACHO", 88, 8],
  ["ENODATA of streams", 96, 61],
  ["EOPNOTSUPP", 102, 95],
  ["ENOPOLICY", 103, 1],
  ["EQFULL", 106, 105],
];

const EIO = 5;
const EDEADLK = 11;
const LAST_COMMON = 34;

const linuxOf = new Map<number, number>();
const darwinOf = new Map<number, number>();
for (const [, darwin, linux] of renumbered) {
  linuxOf.set(darwin, linux);
  darwinOf.set(linux, darwin);
}
for (const [, darwin, linux] of approximated) linuxOf.set(darwin, linux);

function isCommon(errno: number): boolean {
  return errno >= 1 && errno <= LAST_COMMON && errno !== EDEADLK;
}

/** The Linux number of a macOS errno; EIO for one that is not known. */
export function linuxErrno(darwin: number): number {
  return isCommon(darwin) ? darwin : (linuxOf.get(darwin) ?? EIO);
}

/** The macOS number of a Linux errno; EIO for what macOS has no name for. */
export function darwinErrno(linux: number): number {
  return isCommon(linux) ? linux : (darwinOf.get(linux) ?? EIO);
}

/** For tests against the headers. */
export const renumberedErrnos = renumbered;
