/* Who a process runs as, from the guest's own /etc/passwd and /etc/group: files of the image, so not to be trusted. */
#ifndef ACCOUNT_H
#define ACCOUNT_H

#include <sys/types.h>

enum { ACCOUNT_GROUPS_MAX = 256, ACCOUNT_HOME_MAX = 1024 };

struct account {
	uid_t uid;
	gid_t gid;
	gid_t groups[ACCOUNT_GROUPS_MAX]; /* supplementary; those beyond the maximum are not granted */
	int group_count;
	char home[ACCOUNT_HOME_MAX];
};

/* Resolves "", "name", "uid", "name:group", "uid:gid" as container engines do: an unknown uid is fine and gets
 * gid 0, an unknown name is not; supplementary groups come only when no group is asked for.
 * Returns 0, or -1 when there is no such user or group. */
int account_resolve(const char *spec, struct account *out);

/* The same with other files, for tests and the fuzzer. */
int account_resolve_in(const char *spec, const char *passwd_path, const char *group_path, struct account *out);

#endif
