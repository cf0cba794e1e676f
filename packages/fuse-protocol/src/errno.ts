/**
 * A positive Linux errno. On the wire and in backend results it is negated: `return -ENOENT`.
 * The numbers are those of `asm-generic/errno.h`, whatever platform this runs on.
 */
export type Errno = number & { readonly __errno: true };

const errno = (number: number): Errno => number as Errno;

export const EPERM = errno(1);
export const ENOENT = errno(2);
export const ESRCH = errno(3);
export const EINTR = errno(4);
export const EIO = errno(5);
export const ENXIO = errno(6);
export const E2BIG = errno(7);
export const ENOEXEC = errno(8);
export const EBADF = errno(9);
export const ECHILD = errno(10);
export const EAGAIN = errno(11);
export const ENOMEM = errno(12);
export const EACCES = errno(13);
export const EFAULT = errno(14);
export const ENOTBLK = errno(15);
export const EBUSY = errno(16);
export const EEXIST = errno(17);
export const EXDEV = errno(18);
export const ENODEV = errno(19);
export const ENOTDIR = errno(20);
export const EISDIR = errno(21);
export const EINVAL = errno(22);
export const ENFILE = errno(23);
export const EMFILE = errno(24);
export const ENOTTY = errno(25);
export const ETXTBSY = errno(26);
export const EFBIG = errno(27);
export const ENOSPC = errno(28);
export const ESPIPE = errno(29);
export const EROFS = errno(30);
export const EMLINK = errno(31);
export const EPIPE = errno(32);
export const EDOM = errno(33);
export const ERANGE = errno(34);
export const EDEADLK = errno(35);
export const ENAMETOOLONG = errno(36);
export const ENOLCK = errno(37);
export const ENOSYS = errno(38);
export const ENOTEMPTY = errno(39);
export const ELOOP = errno(40);
export const ENOMSG = errno(42);
export const EIDRM = errno(43);
export const ECHRNG = errno(44);
export const EL2NSYNC = errno(45);
export const EL3HLT = errno(46);
export const EL3RST = errno(47);
export const ELNRNG = errno(48);
export const EUNATCH = errno(49);
export const ENOCSI = errno(50);
export const EL2HLT = errno(51);
export const EBADE = errno(52);
export const EBADR = errno(53);
export const EXFULL = errno(54);
export const ENOANO = errno(55);
export const EBADRQC = errno(56);
export const EBADSLT = errno(57);
export const EBFONT = errno(59);
export const ENOSTR = errno(60);
export const ENODATA = errno(61);
export const ETIME = errno(62);
export const ENOSR = errno(63);
export const ENONET = errno(64);
export const ENOPKG = errno(65);
export const EREMOTE = errno(66);
export const ENOLINK = errno(67);
export const EADV = errno(68);
export const ESRMNT = errno(69);
export const ECOMM = errno(70);
export const EPROTO = errno(71);
export const EMULTIHOP = errno(72);
export const EDOTDOT = errno(73);
export const EBADMSG = errno(74);
export const EOVERFLOW = errno(75);
export const ENOTUNIQ = errno(76);
export const EBADFD = errno(77);
export const EREMCHG = errno(78);
export const ELIBACC = errno(79);
export const ELIBBAD = errno(80);
export const ELIBSCN = errno(81);
export const ELIBMAX = errno(82);
export const ELIBEXEC = errno(83);
export const EILSEQ = errno(84);
export const ERESTART = errno(85);
export const ESTRPIPE = errno(86);
export const EUSERS = errno(87);
export const ENOTSOCK = errno(88);
export const EDESTADDRREQ = errno(89);
export const EMSGSIZE = errno(90);
export const EPROTOTYPE = errno(91);
export const ENOPROTOOPT = errno(92);
export const EPROTONOSUPPORT = errno(93);
export const ESOCKTNOSUPPORT = errno(94);
export const EOPNOTSUPP = errno(95);
export const EPFNOSUPPORT = errno(96);
export const EAFNOSUPPORT = errno(97);
export const EADDRINUSE = errno(98);
export const EADDRNOTAVAIL = errno(99);
export const ENETDOWN = errno(100);
export const ENETUNREACH = errno(101);
export const ENETRESET = errno(102);
export const ECONNABORTED = errno(103);
export const ECONNRESET = errno(104);
export const ENOBUFS = errno(105);
export const EISCONN = errno(106);
export const ENOTCONN = errno(107);
export const ESHUTDOWN = errno(108);
export const ETOOMANYREFS = errno(109);
export const ETIMEDOUT = errno(110);
export const ECONNREFUSED = errno(111);
export const EHOSTDOWN = errno(112);
export const EHOSTUNREACH = errno(113);
export const EALREADY = errno(114);
export const EINPROGRESS = errno(115);
export const ESTALE = errno(116);
export const EUCLEAN = errno(117);
export const ENOTNAM = errno(118);
export const ENAVAIL = errno(119);
export const EISNAM = errno(120);
export const EREMOTEIO = errno(121);
export const EDQUOT = errno(122);
export const ENOMEDIUM = errno(123);
export const EMEDIUMTYPE = errno(124);
export const ECANCELED = errno(125);
export const ENOKEY = errno(126);
export const EKEYEXPIRED = errno(127);
export const EKEYREVOKED = errno(128);
export const EKEYREJECTED = errno(129);
export const EOWNERDEAD = errno(130);
export const ENOTRECOVERABLE = errno(131);
export const ERFKILL = errno(132);
export const EHWPOISON = errno(133);
export const EWOULDBLOCK = EAGAIN;
export const EDEADLOCK = EDEADLK;
export const ENOTSUP = EOPNOTSUPP;

/** Every Linux errno by its symbolic name; synonyms (`EWOULDBLOCK`) are left out. */
export const errnos: Readonly<Record<string, Errno>> = Object.freeze({
  EPERM,
  ENOENT,
  ESRCH,
  EINTR,
  EIO,
  ENXIO,
  E2BIG,
  ENOEXEC,
  EBADF,
  ECHILD,
  EAGAIN,
  ENOMEM,
  EACCES,
  EFAULT,
  ENOTBLK,
  EBUSY,
  EEXIST,
  EXDEV,
  ENODEV,
  ENOTDIR,
  EISDIR,
  EINVAL,
  ENFILE,
  EMFILE,
  ENOTTY,
  ETXTBSY,
  EFBIG,
  ENOSPC,
  ESPIPE,
  EROFS,
  EMLINK,
  EPIPE,
  EDOM,
  ERANGE,
  EDEADLK,
  ENAMETOOLONG,
  ENOLCK,
  ENOSYS,
  ENOTEMPTY,
  ELOOP,
  ENOMSG,
  EIDRM,
  ECHRNG,
  EL2NSYNC,
  EL3HLT,
  EL3RST,
  ELNRNG,
  EUNATCH,
  ENOCSI,
  EL2HLT,
  EBADE,
  EBADR,
  EXFULL,
  ENOANO,
  EBADRQC,
  EBADSLT,
  EBFONT,
  ENOSTR,
  ENODATA,
  ETIME,
  ENOSR,
  ENONET,
  ENOPKG,
  EREMOTE,
  ENOLINK,
  EADV,
  ESRMNT,
  ECOMM,
  EPROTO,
  EMULTIHOP,
  EDOTDOT,
  EBADMSG,
  EOVERFLOW,
  ENOTUNIQ,
  EBADFD,
  EREMCHG,
  ELIBACC,
  ELIBBAD,
  ELIBSCN,
  ELIBMAX,
  ELIBEXEC,
  EILSEQ,
  ERESTART,
  ESTRPIPE,
  EUSERS,
  ENOTSOCK,
  EDESTADDRREQ,
  EMSGSIZE,
  EPROTOTYPE,
  ENOPROTOOPT,
  EPROTONOSUPPORT,
  ESOCKTNOSUPPORT,
  EOPNOTSUPP,
  EPFNOSUPPORT,
  EAFNOSUPPORT,
  EADDRINUSE,
  EADDRNOTAVAIL,
  ENETDOWN,
  ENETUNREACH,
  ENETRESET,
  ECONNABORTED,
  ECONNRESET,
  ENOBUFS,
  EISCONN,
  ENOTCONN,
  ESHUTDOWN,
  ETOOMANYREFS,
  ETIMEDOUT,
  ECONNREFUSED,
  EHOSTDOWN,
  EHOSTUNREACH,
  EALREADY,
  EINPROGRESS,
  ESTALE,
  EUCLEAN,
  ENOTNAM,
  ENAVAIL,
  EISNAM,
  EREMOTEIO,
  EDQUOT,
  ENOMEDIUM,
  EMEDIUMTYPE,
  ECANCELED,
  ENOKEY,
  EKEYEXPIRED,
  EKEYREVOKED,
  EKEYREJECTED,
  EOWNERDEAD,
  ENOTRECOVERABLE,
  ERFKILL,
  EHWPOISON,
});

const names = new Map<number, string>(Object.entries(errnos).map(([name, value]) => [value, name]));

/** The symbolic name of a Linux errno, positive or negated: `errnoName(-2)` is `"ENOENT"`. */
export function errnoName(number: number): string {
  return names.get(Math.abs(number)) ?? `errno ${Math.abs(number)}`;
}
