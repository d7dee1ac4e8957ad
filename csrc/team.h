/* Worker threads that share one task with the caller.
 *
 * The caller is member 0.  Workers are started when they are first needed, sleep when there is nothing to do (after a
 * few microseconds of watching, because a sleeper takes 40 to wake), and survive neither a fork nor the process.  One
 * task runs at a time: a caller who finds the team at work does the whole task alone, which gives the same result.
 */
#ifndef FASTRNN_TEAM_H
#define FASTRNN_TEAM_H

typedef void (*fastrnn_task)(void *context, int member, int members);

/* Run task(context, member, members) on all members at once, at most `most` of them; back when all have ended. */
void fastrnn_team_run(fastrnn_task task, void *context, int most);

/* Where all members of a task wait for one another; zero to begin with. */
typedef struct {
    _Alignas(64) _Atomic int arrived;
    _Alignas(64) _Atomic int phase;
} fastrnn_barrier;

void fastrnn_barrier_wait(fastrnn_barrier *barrier, int members);

#endif
