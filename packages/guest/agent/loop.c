#include "loop.h"

#include <errno.h>
#include <time.h>
#include <unistd.h>

static int epoll_fd = -1;

/* Events of the turn being handled. A source closed meanwhile is struck out here, so its owner may free it at once. */
static struct epoll_event events[64];
static int event_count;

void loop_open(void) { epoll_fd = epoll_create1(EPOLL_CLOEXEC); }

void loop_turn(int timeout_ms) {
	event_count = epoll_wait(epoll_fd, events, sizeof events / sizeof *events, timeout_ms);
	for (int i = 0; i < event_count; i++) {
		struct source *source = events[i].data.ptr;
		if (source)
			source->ready(source, events[i].events);
	}
	event_count = 0;
}

void source_init(struct source *source, int fd, void (*ready)(struct source *, uint32_t)) {
	source->fd = fd;
	source->watched = 0;
	source->ready = ready;
}

void source_watch(struct source *source, uint32_t wanted) {
	if (source->fd < 0 || source->watched == wanted)
		return;
	struct epoll_event event = {.events = wanted, .data.ptr = source};
	int op = !wanted ? EPOLL_CTL_DEL : source->watched ? EPOLL_CTL_MOD : EPOLL_CTL_ADD;
	if (!epoll_ctl(epoll_fd, op, source->fd, &event))
		source->watched = wanted;
}

void source_close(struct source *source) {
	if (source->fd < 0)
		return;
	source_watch(source, 0);
	close(source->fd);
	source->fd = -1;
	for (int i = 0; i < event_count; i++)
		if (events[i].data.ptr == source)
			events[i].data.ptr = NULL;
}

uint64_t now_ns(void) {
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

int64_t now_ms(void) { return (int64_t)(now_ns() / 1000000u); }
