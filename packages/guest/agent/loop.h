/* One epoll loop. Every fd it watches belongs to a `struct source` inside the object that owns the fd. */
#ifndef LOOP_H
#define LOOP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/epoll.h>

struct source {
	int fd; /* -1: closed */
	uint32_t watched;
	void (*ready)(struct source *, uint32_t events);
};

#define OWNER(source, type, member) ((type *)(void *)((char *)(source)-offsetof(type, member)))

void loop_open(void);
/* Waits up to `timeout_ms` (-1: for ever) and calls ready() of the sources that have events. */
void loop_turn(int timeout_ms);

void source_init(struct source *source, int fd, void (*ready)(struct source *, uint32_t));
/* Sets the wanted EPOLL* events; with none the fd leaves the set, since epoll reports a hang-up even unasked. */
void source_watch(struct source *source, uint32_t events);
void source_close(struct source *source);

int64_t now_ms(void);
uint64_t now_ns(void);

#endif
