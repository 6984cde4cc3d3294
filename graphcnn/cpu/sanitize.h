/* Checks of a sanitized build: every access is looked up in the launch's tensors first.
 *
 * There is one region per kernel parameter: the storage of its tensor (none for a number). An
 * access whose address plainly comes from one parameter must stay in that parameter's region.
 *
 * Each byte of a tensor's storage has two words of shadow: who wrote it and who read it in this
 * launch (program number + 1; SEVERAL for more than one reader). Tensors that share an arena by plan
 * have memory of their own here, and share these words; a third, which outlives the launch, says
 * which tensor's data the byte would hold. Programs run one after another, so the order is fixed and
 * a report is repeatable; what two programs of a grid do to one byte is a race whichever came first.
 */
enum { LOAD_OUTSIDE = 1, STORE_OUTSIDE, WRITE_RACE, READ_RACE, UNWRITTEN_LOAD, ASSERTION, OVERWRITTEN };
#define SEVERAL UINT32_MAX

typedef struct {
  char *low, *high;
  uint32_t *writer, *reader;
  uint32_t* holder; /* the number of the tensor; NULL: all of it holds this one's data */
  uint8_t* stored; /* whether this one's data were there once */
  uint32_t number;
} region;

typedef struct {
  int32_t kind, site, region, first, second;
  int64_t offset;
} fault;

static region* regions;
static int region_count;
static fault found;
static int64_t program_id;

void sanitize_begin(region* all, int count) {
  regions = all;
  region_count = count;
  memset(&found, 0, sizeof found);
}

/* The first fault of the launch; kind 0: none. */
fault sanitize_end(void) { return found; }

static void report(int kind, int site, int where, int64_t offset, uint32_t first) {
  if (found.kind) return;
  found = (fault){kind, site, where, first == SEVERAL ? -1 : (int32_t)first - 1,
                  (int32_t)program_id, offset};
}

/* `parameter` is where the address comes from, or -1 when the emitter could not tell. */
static region* region_of(const char* p, int size, int parameter, int kind, int site) {
  int nearest = -1;
  int64_t best = INT64_MAX;
  for (int i = 0; i < region_count; i++) {
    region* r = regions + i;
    if (!r->low || (parameter >= 0 && i != parameter)) continue;
    if (p >= r->low && p + size <= r->high) return r;
    int64_t gap = p < r->low ? r->low - p : p + size - r->high;
    if (gap < best) best = gap, nearest = i;
  }
  report(kind, site, nearest, nearest < 0 ? 0 : p - regions[nearest].low, 0);
  return 0;
}

static int holds_data(region* r, int64_t start, int size, int site) {
  for (int64_t at = start; r->holder && at < start + size; at++) {
    uint32_t holder = r->holder[at];
    if (holder == r->number) continue;
    report(r->stored[at] ? OVERWRITTEN : UNWRITTEN_LOAD, site, r - regions, start, holder + 1);
    return 0;
  }
  return 1;
}

static int may_load(const void* p, int size, int parameter, int site) {
  region* r = region_of(p, size, parameter, LOAD_OUTSIDE, site);
  if (!r) return 0;
  uint32_t self = program_id + 1;
  int64_t start = (const char*)p - r->low;
  for (int64_t at = start; at < start + size; at++) {
    if (r->writer[at] && r->writer[at] != self)
      report(READ_RACE, site, r - regions, start, r->writer[at]);
    r->reader[at] = r->reader[at] == 0 || r->reader[at] == self ? self : SEVERAL;
  }
  return holds_data(r, start, size, site);
}

static int may_store(const void* p, int size, int parameter, int site) {
  region* r = region_of(p, size, parameter, STORE_OUTSIDE, site);
  if (!r) return 0;
  uint32_t self = program_id + 1;
  int64_t start = (const char*)p - r->low;
  for (int64_t at = start; at < start + size; at++) {
    if (r->writer[at] && r->writer[at] != self)
      report(WRITE_RACE, site, r - regions, start, r->writer[at]);
    if (r->reader[at] && r->reader[at] != self)
      report(READ_RACE, site, r - regions, start, r->reader[at]);
    r->writer[at] = self;
    if (r->holder) r->holder[at] = r->number, r->stored[at] = 1;
  }
  return 1;
}

/* Atomic updates do not race with one another; they read what is there. */
static int may_update(const void* p, int size, int parameter, int site) {
  region* r = region_of(p, size, parameter, STORE_OUTSIDE, site);
  return r && holds_data(r, (const char*)p - r->low, size, site);
}

static void assertion_failed(int site) { report(ASSERTION, site, -1, 0, 0); }
