/* Reads commands, runs them as the user and in the process that they name, and sends the answers. */
#include "executor.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#define PROCESSES 8
#define WORDS 32

static int root;
/* What commands come from; processes that are started later read from their parent. */
static FILE *input;
static int output = STDOUT_FILENO;

static struct process {
	pid_t pid;
	FILE *answers;
	int commands;
} processes[PROCESSES];

static void run_line(char *line);

static void serve(void)
{
	char *line = NULL;
	size_t room = 0;
	ssize_t length;

	while ((length = getline(&line, &room, input)) > 0) {
		line[length - 1] = '\0';
		run_line(line);
		send_answer(output);
	}
	free(line);
}

/* A child with copies of the parent's open files, as fork(2) makes it. */
static void start_process(struct process *process)
{
	int down[2], up[2];

	if (pipe2(down, O_CLOEXEC) < 0 || pipe2(up, O_CLOEXEC) < 0)
		exit(2);
	process->pid = fork();
	if (process->pid == 0) {
		for (int i = 0; i < PROCESSES; i++)
			if (processes[i].answers != NULL)
				close(processes[i].commands);
		close(down[1]);
		close(up[0]);
		input = fdopen(down[0], "r");
		output = up[1];
		serve();
		_exit(0);
	}
	close(down[0]);
	close(up[1]);
	process->commands = down[1];
	process->answers = fdopen(up[0], "r");
}

static void end_processes(void)
{
	for (int i = 0; i < PROCESSES; i++) {
		if (processes[i].answers == NULL)
			continue;
		close(processes[i].commands);
		fclose(processes[i].answers);
		waitpid(processes[i].pid, NULL, 0);
		processes[i] = (struct process){ 0 };
	}
}

/* in N COMMAND: in another process, which starts when first named. */
static void run_elsewhere(char *rest)
{
	struct process *process = &processes[strtoul(rest, &rest, 10) % PROCESSES];
	char *line = NULL;
	size_t room = 0;

	if (process->answers == NULL)
		start_process(process);
	dprintf(process->commands, "%s\n", rest + 1);
	ssize_t length = getline(&line, &room, process->answers);
	answer("%.*s", length > 0 ? (int)length - 1 : 0, line);
	free(line);
}

/* UID:GID[+GID...]. The saved user id stays root's, so that we come back. */
static void become(const char *user)
{
	gid_t groups[16];
	int count = 0;
	char *rest;
	uid_t uid = strtoul(user, &rest, 10);
	gid_t gid = strtoul(rest + 1, &rest, 10);

	while (*rest == '+' && count < 16)
		groups[count++] = strtoul(rest + 1, &rest, 10);
	if (setgroups(count, groups) < 0 || setresgid(gid, gid, 0) < 0 || setresuid(uid, uid, 0) < 0) {
		perror("executor: cannot become another user");
		exit(2);
	}
}

static void become_root(void)
{
	if (setresuid(0, 0, 0) < 0 || setresgid(0, 0, 0) < 0 || setgroups(0, NULL) < 0)
		exit(2);
}

/* Everything as it was at the start: nothing open, one empty directory. */
static void reset(void)
{
	char names[4096];

	end_processes();
	close_all();
	umask(022);
	remove_below(root);
	fchmod(root, 0755);
	fchown(root, 0, 0);
	ssize_t length = flistxattr(root, names, sizeof names);
	for (ssize_t at = 0; at < length; at += strlen(names + at) + 1)
		fremovexattr(root, names + at);
	answer("0");
}

static const struct command *find(const char *name)
{
	const struct command *const tables[] = { name_commands, attribute_commands, file_commands,
						 lock_commands, tree_commands };

	for (size_t table = 0; table < sizeof tables / sizeof tables[0]; table++)
		for (const struct command *command = tables[table]; command->name != NULL; command++)
			if (strcmp(command->name, name) == 0)
				return command;
	return NULL;
}

static void run_words(char **word, int words)
{
	const struct command *command = find(word[0]);

	if (command == NULL || words - 1 < command->least || words - 1 > command->most) {
		answer("unknown command or wrong number of arguments: %s", word[0]);
		return;
	}
	for (int i = 1; i < words; i++)
		decode_percent(word[i]);
	errno = 0;
	command->run(word + 1, words - 1);
}

static void run_line(char *line)
{
	char *word[WORDS], *rest = NULL;
	int words = 0;

	if (strncmp(line, "in ", 3) == 0) {
		run_elsewhere(line + 3);
		return;
	}
	if (strcmp(line, "reset") == 0) {
		reset();
		return;
	}
	for (char *next = strtok_r(line, " ", &rest); next != NULL && words < WORDS;
	     next = strtok_r(NULL, " ", &rest))
		word[words++] = next;
	if (words > 2 && strcmp(word[0], "as") == 0) {
		become(word[1]);
		run_words(word + 2, words - 2);
		become_root();
	} else if (words > 0) {
		run_words(word, words);
	}
}

int main(int arguments, char **argument)
{
	if (arguments != 2 || chdir(argument[1]) < 0 ||
	    (root = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0) {
		perror("usage: executor DIRECTORY");
		return 2;
	}
	signal(SIGPIPE, SIG_IGN);
	memset(slots, 0xff, sizeof slots);
	become_root();
	umask(022);
	input = stdin;
	serve();
	return 0;
}
