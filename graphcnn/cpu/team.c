/* Walks a list of launches on one team of threads, without a step outside of C between them.
 *
 * The team is one parallel region of the OpenMP runtime that torch has loaded: a second runtime, or
 * threads of our own, would spin beside torch's and halve both. GCC's entry points are called by
 * name, which LLVM's runtime has as well, so that any compiler builds this and links nothing.
 *
 * Each thread has its share of a grid, neighbouring programs that are the same ones in each launch
 * of such a grid, so that what it wrote is in its own cache; who is done takes from the others.
 */
#define _POSIX_C_SOURCE 199309L
#include <stdint.h>
#include <time.h>

extern void GOMP_parallel(void (*work)(void*), void* data, unsigned threads, unsigned flags);
extern void GOMP_barrier(void);
extern int omp_get_thread_num(void);
extern int omp_get_num_threads(void);

typedef struct {
  void (*programs)(int64_t first, int64_t last, const int32_t* grid, const uint64_t* arguments);
  const uint64_t* arguments;
  int64_t count; /* programs of the grid */
  int32_t grid[3];
  int32_t alone; /* whether the caller's thread runs all of them: a second would join too late */
} launch;

typedef struct {
  int64_t next, last;
} __attribute__((aligned(64))) share; /* a cache line each */

typedef struct {
  const launch* launches;
  int64_t at, end;
  int64_t stop, reached; /* the launch in front of which all leave, and have left */
  double deadline;
  int threads;
  share* shares[2]; /* of this launch and the next: one for each thread */
} list;

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec + 1e-9 * t.tv_nsec;
}

static void run(const launch* l, int64_t first, int64_t last) {
  l->programs(first, last, l->grid, l->arguments);
}

static void run_all(const launch* l) { run(l, 0, l->count); }

static void deal(share* shares, const launch* l, int part, int parts) {
  shares[part].last = l->count * (part + 1) / parts;
  shares[part].next = l->count * part / parts;
}

static void run_shares(share* shares, const launch* l, int first, int parts) {
  for (int i = 0; i < parts; i++) {
    share* s = shares + (first + i) % parts;
    for (;;) {
      int64_t id = __atomic_fetch_add(&s->next, 1, __ATOMIC_RELAXED);
      if (id >= s->last) break;
      run(l, id, id + 1);
    }
  }
}

/* A barrier stands between two launches, unless the first thread runs both of them alone. Before it
 * each thread deals its share of the next launch, where nobody takes from any more. */
static void run_on_team(void* data) {
  list* all = data;
  int me = omp_get_thread_num(), team = omp_get_num_threads();
  int parts = all->threads; /* the caller dealt the first launch to as many as it asked for */
  int64_t at = all->at;
  for (;;) {
    const launch *l = all->launches + at, *next = l + 1;
    if (!l->alone)
      run_shares(all->shares[at % 2], l, me, parts);
    else if (me == 0)
      run_all(l);
    if (++at == all->end) break;
    deal(all->shares[at % 2], next, me, parts = team);
    if (l->alone && next->alone) continue;
    if (me == 0 && now() > all->deadline) all->stop = at;
    GOMP_barrier();
    if (__atomic_load_n(&all->stop, __ATOMIC_RELAXED) == at) break;
  }
  if (me == 0) all->reached = at; /* `at` is still to be read by threads that come late */
}

static int64_t run_with_team(const launch* launches, int64_t at, int64_t end, int threads,
                             double deadline) {
  share shares[2][threads];
  list all = {launches, at, end, -1, at, deadline, threads, {shares[0], shares[1]}};
  for (int part = 0; part < threads; part++) deal(shares[at % 2], launches + at, part, threads);
  GOMP_parallel(run_on_team, &all, threads, 0);
  return all.reached;
}

/* Run launches from `at` on, up to `end` or until `seconds` have passed; returns the next one. The
 * team is there from the first launch that is shared to the last. */
int64_t walk(const launch* launches, int64_t at, int64_t end, int threads, double seconds) {
  double deadline = now() + seconds;
  int64_t shared = threads > 1 ? end : at;
  while (shared > at && launches[shared - 1].alone) shared--;
  do
    if (at < shared && !launches[at].alone)
      at = run_with_team(launches, at, shared, threads, deadline);
    else
      run_all(launches + at++);
  while (at < end && now() < deadline);
  return at;
}
