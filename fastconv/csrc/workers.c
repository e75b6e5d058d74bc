/* The worker threads of the process.
 *
 * An OpenMP region ends when each of its threads has arrived: on a busy machine a call of 100 us waits for
 * whole time slices of a worker that never ran. Here a call is offered to the workers; whoever is awake
 * joins, the caller works as well, and it waits only for those who joined.
 *
 * One lock guards everything; it is taken a few times per call and never while computing. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "workers.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <time.h>
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

/* A worker that has just computed looks for more this long before it sleeps, so that the layers of a network and
 * what Python does between them find it awake: waking it costs a call about 10 us, and 25 us once its core sleeps
 * (20 ms). A caller waits a while for the last workers before it sleeps, which frees its core for a worker that lost
 * its own. */
static const long WORKER_SPIN_NS = 400000;
static const long CALLER_SPIN_NS = 20000;
/* More sleepers than this need no help to find a core: a caller that has moved leaves their masks alone. */
enum { SLEEPERS_MOVED = 8 };

typedef struct job {
    fc_member_fn *fn;
    void *context;
    int core;           /* where the caller was when it asked */
    int limit;          /* threads that may compute in the process while this job asks for more */
    int seats;          /* workers it still asks for */
    atomic_int helpers; /* workers inside fn; the last touch of a worker is to count itself out */
    struct job *next;
} job;

typedef struct sleeper sleeper;

static struct {
    pthread_mutex_t lock;
    pthread_cond_t wake, done;
    job *jobs;      /* those that may still be joined */
    int threads;    /* workers that exist */
    int active;     /* callers and workers inside some fn */
    int spinning;   /* workers looking for a job */
    int sleeping;   /* workers that must be woken */
    sleeper *sleepers; /* theirs, or of some that are waking */
    int waiting;    /* callers asleep until their workers are done */
    atomic_uint events; /* counts what may let a worker join a job; spinning workers watch it */
} pool = {.lock = PTHREAD_MUTEX_INITIALIZER, .wake = PTHREAD_COND_INITIALIZER, .done = PTHREAD_COND_INITIALIZER};

static pthread_once_t fork_once = PTHREAD_ONCE_INIT;

/* A forked child has the forking thread alone: it begins with no workers and no jobs. */
static void before_fork(void) { pthread_mutex_lock(&pool.lock); }
static void after_fork_in_parent(void) { pthread_mutex_unlock(&pool.lock); }
static void after_fork_in_child(void) {
    pthread_mutex_init(&pool.lock, NULL);
    pthread_cond_init(&pool.wake, NULL);
    pthread_cond_init(&pool.done, NULL);
    pool.jobs = NULL;
    pool.sleepers = NULL;
    pool.threads = pool.active = pool.spinning = pool.sleeping = pool.waiting = 0;
}
static void watch_forks(void) { pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child); }

static void relax(void) {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static long now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (long)(now.tv_sec % 1000000) * 1000000000L + now.tv_nsec;
}

#if defined(__linux__)
static int current_core(void) { return sched_getcpu(); }

/* Moves this thread to another core its affinity mask allows; the mask stays what it was. */
static void leave_core(int core) {
    cpu_set_t allowed, others;
    if (core >= CPU_SETSIZE || sched_getaffinity(0, sizeof allowed, &allowed) != 0)
        return;
    others = allowed;
    CPU_CLR(core, &others);
    if (CPU_COUNT(&others) > 0 && sched_setaffinity(0, sizeof others, &others) == 0)
        sched_setaffinity(0, sizeof allowed, &allowed);
}
#else
static int current_core(void) { return -1; }
static void leave_core(int core) { (void)core; }
#endif

/* A kernel that sees no idle core (6.18 on a virtual machine of two) wakes a worker on its caller's core, where it does not
 * run before that one's time slice ends: calls of 0.3 ms then took 0.6 to 1.2 for 5 to 10 ms. So a sleeping worker's mask
 * leaves out the core of its last caller, or of the next one where that has moved. */
struct sleeper {
#if defined(__linux__)
    pid_t thread;
    cpu_set_t before, since; /* its mask, and what it is while it sleeps */
#endif
    struct sleeper *next;
};

#if defined(__linux__)
static void keep_away(sleeper *s, int core) {
    cpu_set_t others = s->before, now;
    if (core < 0 || core >= CPU_SETSIZE)
        return;
    CPU_CLR(core, &others);
    if (CPU_COUNT(&others) == 0 || CPU_EQUAL(&others, &s->since))
        return;
    if (sched_getaffinity(s->thread, sizeof now, &now) != 0 || !CPU_EQUAL(&now, &s->since))
        return; /* somebody has set another mask */
    if (sched_setaffinity(s->thread, sizeof others, &others) == 0)
        s->since = others;
}

static void lie_down(sleeper *s, int core) {
    s->thread = (pid_t)syscall(SYS_gettid);
    CPU_ZERO(&s->before);
    if (sched_getaffinity(0, sizeof s->before, &s->before) != 0)
        return; /* of no cores: never moved */
    s->since = s->before;
    keep_away(s, core);
}

/* Gives the mask back, unless somebody has set another one; the same as ours counts as ours. */
static void get_up(const sleeper *s) {
    cpu_set_t now;
    if (CPU_COUNT(&s->before) > 0 && !CPU_EQUAL(&s->before, &s->since) &&
        sched_getaffinity(0, sizeof now, &now) == 0 && CPU_EQUAL(&now, &s->since))
        sched_setaffinity(0, sizeof s->before, &s->before);
}
#else
static void keep_away(sleeper *s, int core) { (void)s, (void)core; }
static void lie_down(sleeper *s, int core) { (void)s, (void)core; }
static void get_up(const sleeper *s) { (void)s; }
#endif

/* A job this worker may join, with the lock held. */
static job *open_job(void) {
    for (job *each = pool.jobs; each != NULL; each = each->next)
        if (each->seats > 0 && pool.active < each->limit)
            return each;
    return NULL;
}

/* Looks for a job awhile without sleeping; lock held before and after. */
static job *spin_for_job(void) {
    long end = now_ns() + WORKER_SPIN_NS;
    job *chosen = open_job();
    pool.spinning++;
    while (chosen == NULL && now_ns() < end) {
        unsigned seen = atomic_load(&pool.events);
        pthread_mutex_unlock(&pool.lock);
        while (atomic_load_explicit(&pool.events, memory_order_relaxed) == seen && now_ns() < end)
            for (int i = 0; i < 8; i++)
                relax();
        pthread_mutex_lock(&pool.lock);
        chosen = open_job();
    }
    pool.spinning--;
    return chosen;
}

/* `core`: the last caller's. */
static job *sleep_for_job(int core) {
    job *chosen;
    sleeper self;
    lie_down(&self, core);
    self.next = pool.sleepers;
    pool.sleepers = &self;
    while ((chosen = open_job()) == NULL) {
        pool.sleeping++;
        pthread_cond_wait(&pool.wake, &pool.lock);
        pool.sleeping--;
    }
    sleeper **at = &pool.sleepers;
    while (*at != &self)
        at = &(*at)->next;
    *at = self.next;
    get_up(&self);
    return chosen;
}

static void help(job *chosen) {
    chosen->seats--;
    atomic_fetch_add(&chosen->helpers, 1);
    pool.active++;
    pthread_mutex_unlock(&pool.lock);
    /* With no core idle, a woken worker is put beside its caller and takes turns with it, which helps nobody. */
    if (chosen->core >= 0 && current_core() == chosen->core)
        leave_core(chosen->core);
    chosen->fn(chosen->context);
    pthread_mutex_lock(&pool.lock);
    pool.active--;
    if (atomic_fetch_sub(&chosen->helpers, 1) == 1 && pool.waiting > 0)
        pthread_cond_broadcast(&pool.done);
}

static void *worker(void *unused) {
    (void)unused;
    int core = -1;
    pthread_mutex_lock(&pool.lock);
    for (job *chosen = NULL;; chosen = spin_for_job()) {
        if (chosen == NULL)
            chosen = sleep_for_job(core);
        core = chosen->core;
        help(chosen);
    }
    return NULL;
}

/* Workers take no signals: those are for the threads of the program. */
static void start_workers(int wanted) {
    sigset_t all, before;
    pthread_attr_t detached;
    if (pool.threads >= wanted || pthread_attr_init(&detached) != 0)
        return;
    pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pthread_t thread;
    while (pool.threads < wanted && pthread_create(&thread, &detached, worker, NULL) == 0)
        pool.threads++;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&detached);
}

/* How many sleeping workers could join now, beyond those that look for work already. */
static int to_wake(void) {
    int useful = 0;
    for (const job *each = pool.jobs; each != NULL; each = each->next) {
        int room = each->limit - pool.active;
        int more = each->seats < room ? each->seats : room;
        useful = more > useful ? more : useful;
    }
    useful -= pool.spinning;
    return useful < pool.sleeping ? useful : pool.sleeping;
}

static void unlock_and_wake(void) {
    int count = to_wake();
    bool all = count == pool.sleeping;
    if (pool.jobs != NULL)
        atomic_fetch_add(&pool.events, 1);
    pthread_mutex_unlock(&pool.lock);
    if (all && count > 1)
        pthread_cond_broadcast(&pool.wake);
    else
        for (; count > 0; count--)
            pthread_cond_signal(&pool.wake);
}

static void open_for_help(job *own) {
    pthread_mutex_lock(&pool.lock);
    pool.active++;
    start_workers(own->seats);
    own->next = pool.jobs;
    pool.jobs = own;
    for (sleeper *each = pool.sleepers; each != NULL && pool.sleeping <= SLEEPERS_MOVED; each = each->next)
        keep_away(each, own->core);
    unlock_and_wake();
}

static void close_and_wait(job *own) {
    pthread_mutex_lock(&pool.lock);
    job **link = &pool.jobs;
    while (*link != own)
        link = &(*link)->next;
    *link = own->next;
    pool.active--;
    unlock_and_wake();
    long end = 0;
    for (int turn = 0; atomic_load(&own->helpers) > 0; turn++) {
        relax();
        if (turn % 8)
            continue;
        if (end == 0)
            end = now_ns() + CALLER_SPIN_NS;
        if (now_ns() < end)
            continue;
        pthread_mutex_lock(&pool.lock);
        pool.waiting++;
        while (atomic_load(&own->helpers) > 0)
            pthread_cond_wait(&pool.done, &pool.lock);
        pool.waiting--;
        pthread_mutex_unlock(&pool.lock);
    }
}

void fc_workers_run(int helpers, fc_member_fn *fn, void *context) {
    pthread_once(&fork_once, watch_forks);
    job own = {.fn = fn, .context = context, .core = current_core(), .limit = helpers + 1, .seats = helpers};
    open_for_help(&own);
    fn(context);
    close_and_wait(&own);
}
