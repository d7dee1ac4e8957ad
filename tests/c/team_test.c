/* The team of csrc/team.c, to be run under ThreadSanitizer: barriers, tasks in a row, several callers, and forks, whose
 * number may be given (0 under qemu, which cannot start threads in the child of a program with threads). */
#include "../../csrc/team.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define STEPS 200
#define MOST 8

typedef struct {
    fastrnn_barrier barrier;
    long values[2][MOST]; /* written by one member, read by all after the barrier */
    long wrong[MOST];
    int ended[MOST]; /* members, written at the very end, read by the caller when all are back */
} shared;

/* Each step, every member adds up what all members wrote in the step before. */
static void exchange(void *context, int member, int members) {
    shared *s = context;
    for (int step = 0; step < STEPS; step++) {
        long sum = 0;
        for (int other = 0; other < members; other++) sum += s->values[step & 1][other];
        if (sum != (long)step * members) s->wrong[member]++;
        s->values[~step & 1][member] = step + 1;
        fastrnn_barrier_wait(&s->barrier, members);
    }
    s->ended[member] = members;
}

static long run_once(int members) {
    shared s;
    memset(&s, 0, sizeof s);
    fastrnn_team_run(exchange, &s, members);
    long wrong = 0;
    for (int member = 0; member < MOST; member++) wrong += s.wrong[member];
    for (int member = 0; member < MOST; member++) wrong += s.ended[member] != (member < s.ended[0] ? s.ended[0] : 0);
    return wrong;
}

static void *caller(void *result) {
    for (int i = 0; i < 50; i++) *(long *)result += run_once(3);
    return NULL;
}

int main(int count, char **arguments) {
    const int forks = count > 1 ? atoi(arguments[1]) : 20;
    long wrong = 0, passed = 0;
    for (int members = 1; members <= MOST; members++)
        for (int i = 0; i < 20; i++, passed++) wrong += run_once(members);

    pthread_t callers[4];
    long results[4] = {0};
    for (int i = 0; i < 4; i++) pthread_create(&callers[i], NULL, caller, &results[i]);
    for (int i = 0; i < 4; i++, passed++) {
        pthread_join(callers[i], NULL);
        wrong += results[i];
    }

    for (int i = 0; i < forks; i++, passed++) {
        wrong += run_once(2);
        const pid_t child = fork();
        if (child == 0) _exit(run_once(2) != 0);
        int status = 0;
        waitpid(child, &status, 0);
        wrong += status != 0;
    }
    printf("team: %ld passed, %ld failed\n", passed, wrong);
    return wrong != 0;
}
