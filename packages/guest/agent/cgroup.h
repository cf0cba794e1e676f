/*
 * A control group for each request: what it starts can be ended as a whole, also what made a session of its own or
 * forks without end (cgroup-v2.rst, "cgroup.kill"), and gets no more CPU time
 * than any other request. They lie in the group that freeze.h makes, and are used again.
 * Where that is not there, as for an agent that is an ordinary process, nothing here does anything.
 */
#ifndef CGROUP_H
#define CGROUP_H

/* Bounds the number of processes of a request, and of all together. */
void cgroups_open(void);

/* Takes a group without processes. Returns its number, or -1 where there is none. */
int cgroup_take(void);

/* Processes may be left in it; then it is taken again only once they are gone. */
void cgroup_give_back(int number);

/* The directory of a taken group, as clone3(2) wants it; -1 of no group. */
int cgroup_directory(int number);

/* SIGKILL to all that is in the group. */
void cgroup_kill(int number);

#endif
