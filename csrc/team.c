/* The one team of this process; team.h says what it promises. */
#include "team.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>

#define MOST_WORKERS 255
#define SPINS_BEFORE_SLEEP 2000 /* some 20 to 50 microseconds */
#define SPINS_BEFORE_YIELD 4000

typedef struct {
    fastrnn_task task;
    void *context;
    int members;
    unsigned generation;
} job;

static pthread_mutex_t at_work = PTHREAD_MUTEX_INITIALIZER; /* held while a task runs */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;    /* guards `current` */
static pthread_cond_t wake = PTHREAD_COND_INITIALIZER;
static job current;
static _Atomic unsigned generation; /* of `current`, to be watched without the lock */
static _Atomic int still_running;
static int workers; /* guarded by at_work */

static inline void pause_briefly(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static job next_job(unsigned seen) {
    for (int i = 0; i < SPINS_BEFORE_SLEEP; i++) {
        if (atomic_load_explicit(&generation, memory_order_acquire) != seen) break;
        pause_briefly();
    }
    pthread_mutex_lock(&lock);
    while (current.generation == seen) pthread_cond_wait(&wake, &lock);
    const job next = current;
    pthread_mutex_unlock(&lock);
    return next;
}

typedef struct {
    int member;
    unsigned seen;
} worker_start;

static worker_start starts[MOST_WORKERS];

static void *work(void *argument) {
    const worker_start start = *(const worker_start *)argument;
    for (unsigned seen = start.seen;;) {
        const job next = next_job(seen);
        seen = next.generation;
        if (start.member >= next.members) continue;
        next.task(next.context, start.member, next.members);
        atomic_fetch_sub_explicit(&still_running, 1, memory_order_release);
    }
    return NULL;
}

/* A forked child has none of its parent's workers. */
static void forget_workers(void) {
    pthread_mutex_init(&at_work, NULL);
    pthread_mutex_init(&lock, NULL);
    pthread_cond_init(&wake, NULL);
    workers = 0;
}

static void register_fork_handler(void) { pthread_atfork(NULL, NULL, forget_workers); }

/* Start workers until there are `wanted`; fewer if the system refuses. */
static void start_workers(int wanted) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, register_fork_handler);
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before); /* signals stay with the program's own threads */
    while (workers < wanted) {
        pthread_t thread;
        starts[workers] = (worker_start){workers + 1, current.generation};
        if (pthread_create(&thread, NULL, work, &starts[workers]) != 0) break;
        pthread_detach(thread);
        workers++;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

void fastrnn_team_run(fastrnn_task task, void *context, int most) {
    if (most > MOST_WORKERS + 1) most = MOST_WORKERS + 1;
    if (most <= 1 || pthread_mutex_trylock(&at_work) != 0) {
        task(context, 0, 1);
        return;
    }
    if (workers < most - 1) start_workers(most - 1);
    const int members = workers + 1 < most ? workers + 1 : most;
    atomic_store_explicit(&still_running, members - 1, memory_order_relaxed);
    pthread_mutex_lock(&lock);
    current = (job){task, context, members, current.generation + 1};
    atomic_store_explicit(&generation, current.generation, memory_order_release);
    pthread_cond_broadcast(&wake);
    pthread_mutex_unlock(&lock);
    task(context, 0, members);
    for (int i = 0; atomic_load_explicit(&still_running, memory_order_acquire) != 0; i++)
        if (i < SPINS_BEFORE_YIELD) pause_briefly();
        else sched_yield();
    pthread_mutex_unlock(&at_work);
}

void fastrnn_barrier_wait(fastrnn_barrier *barrier, int members) {
    if (members == 1) return;
    const int phase = atomic_load_explicit(&barrier->phase, memory_order_relaxed);
    if (atomic_fetch_add_explicit(&barrier->arrived, 1, memory_order_acq_rel) + 1 == members) {
        atomic_store_explicit(&barrier->arrived, 0, memory_order_relaxed);
        atomic_store_explicit(&barrier->phase, phase + 1, memory_order_release);
        return;
    }
    for (int i = 0; atomic_load_explicit(&barrier->phase, memory_order_acquire) == phase; i++)
        if (i < SPINS_BEFORE_YIELD) pause_briefly();
        else sched_yield();
}
