/* The native runner: measures a batch of ONNX models on a device, in shuffled rounds, in one process.
 *
 *     runner --version
 *     runner FOLDER TOKEN                 detaches and says `started PID`; the token tells its command line from others
 *     runner --foreground FOLDER TOKEN
 *
 * FOLDER/job says what to do and FOLDER/result what came of it (job.h). Models are numbers, so no name that somebody
 * gave reaches the device. What a visit is, and why, stands in profilers/rounds.py and profilers/local.py; here it
 * is done in the same way. Needs Linux or Android, libc and libdl; finds libonnxruntime.so.1 as the loader does.
 * Nothing is released that lives until the end of the process.
 *
 * Exit codes: 0 done, 1 refused, as the result says, 2 usage, 3 job not understood, 4 no runtime, 5 no result.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>

#include "job.h"

enum { MAX_RUNS_PER_VISIT = 20, SETTLING_RUNS = 3, RUNS_OF_SENTINEL = 3, SENTINEL_TRIALS = 30 };
#define SETTLING_MS 1.0 /* once so much time has passed, a visit's runs count: the caches are the model's own again */
#define SENTINEL_MS 2.0 /* on slow devices its first run finds its memory well enough, and more would cost too much */

/* ---- measuring ---- */

static void shuffle(int *order, int count, uint64_t *state) {
    for (int i = count - 1; i > 0; i--) {
        int other = (int)(random_bits(state) % (uint64_t)(i + 1)), kept = order[i];
        order[i] = order[other];
        order[other] = kept;
    }
}

static clockid_t job_clock;
static int sentinel_runs;

static double now_ms(clockid_t clock) {
    struct timespec time;
    clock_gettime(clock, &time);
    return (double)time.tv_sec * 1e3 + (double)time.tv_nsec / 1e6;
}

static bool timed(const Load *load, double *ms) {
    double start = now_ms(job_clock);
    Status *status = ort->RunWithBinding(load->session, NULL, load->binding);
    *ms = now_ms(job_clock) - start;
    return !refuses(status);
}

/* The fastest of a few runs; 0 where the clock went backwards over all of them. */
static bool fastest(const Load *load, int runs, double *ms) {
    double one;
    for (*ms = 0; runs > 0; runs--) {
        if (!timed(load, &one))
            return false;
        if (one > 0 && (*ms == 0 || one < *ms))
            *ms = one;
    }
    return true;
}

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *values, int count) {
    qsort(values, (size_t)count, sizeof *values, ascending);
    return (values[count / 2] + values[(count - 1) / 2]) / 2;
}

/* How often the CPU was taken from us; the CPU's clock stands still meanwhile, so that by it nothing is lost. */
static long preemptions(void) {
    struct rusage usage;
    if (job_clock != CLOCK_MONOTONIC)
        return 0;
    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_nivcsw;
}

/* A few discarded runs, then the median of those that were not preempted, or of all; 0 where the clock told of none. */
static bool visit(const Load *load, int runs, double *ms, bool *preempted) {
    double one, settling = 0, whole[MAX_RUNS_PER_VISIT], broken[MAX_RUNS_PER_VISIT];
    int n_whole = 0, n_broken = 0;
    for (int run = 0; run < SETTLING_RUNS && settling < SETTLING_MS; run++) {
        if (!timed(load, &one))
            return false;
        settling += one;
    }
    for (int run = 0; run < runs; run++) {
        long before = preemptions();
        if (!timed(load, &one))
            return false;
        bool calm = preemptions() == before;
        if (one > 0 && calm)
            whole[n_whole++] = one;
        else if (one > 0)
            broken[n_broken++] = one;
    }
    *preempted = !n_whole;
    *ms = n_whole ? median(whole, n_whole) : n_broken ? median(broken, n_broken) : 0;
    return true;
}

/* Load a model, a small one several times, warm it up, and find how many runs make a visit. */
static bool prepare(Model *model) {
    double ms;
    bool preempted;
    if (!open_load(&model->loads[model->n_loads++], in_folder(model->file)) || !fastest(model->loads, 3, &ms))
        return false;
    while (model->n_loads < job.loads && ms < job.small_ms)
        if (!open_load(&model->loads[model->n_loads++], in_folder(model->file)))
            return false;
    model->runs = MAX_RUNS_PER_VISIT;
    for (int i = 0; i < model->n_loads; i++) {
        if (!fastest(&model->loads[i], job.warmup, &ms) || !visit(&model->loads[i], 3, &ms, &preempted))
            return false;
        double runs = ms > 0 ? job.visit_ms / ms + 0.5 : 1;
        model->runs = runs < model->runs ? (int)runs : model->runs;
    }
    model->runs = model->runs < 1 ? 1 : model->runs;
    return true;
}

/* The sentinel's fastest load: an unlucky one would make the whole batch look disturbed. */
static Load sentinel(void) {
    Load loads[MAX_LOADS];
    double ms, least[MAX_LOADS] = {0};
    int best = 0;
    int n_loads = 1;
    for (int i = 0; i < n_loads; i++) {
        if (!open_load(&loads[i], in_folder(job.sentinel)))
            refuse("the sentinel cannot be loaded", trouble);
        if (!fastest(&loads[i], 3, &least[i]))
            refuse("the sentinel failed", trouble);
        n_loads = least[0] < job.small_ms ? job.loads : 1;
    }
    for (int i = 0; i < n_loads * SENTINEL_TRIALS && n_loads > 1; i++) {
        if (!fastest(&loads[i % n_loads], 1, &ms))
            refuse("the sentinel failed", trouble);
        if (ms > 0 && (least[i % n_loads] == 0 || ms < least[i % n_loads]))
            least[i % n_loads] = ms;
    }
    for (int i = 1; i < n_loads; i++)
        best = least[i] < least[best] ? i : best;
    double runs = least[best] > 0 ? SENTINEL_MS / least[best] + 0.5 : RUNS_OF_SENTINEL;
    sentinel_runs = runs < 1 ? 1 : runs < RUNS_OF_SENTINEL ? (int)runs : RUNS_OF_SENTINEL;
    return loads[best];
}

static double pace(const Load *sentinel) {
    double ms;
    if (!fastest(sentinel, sentinel_runs, &ms))
        refuse("the sentinel failed", trouble);
    return ms;
}

static long measure(const Load *sentinel) {
    int order[job.n_models + 1];
    long visits = 0;
    double started = now_ms(CLOCK_MONOTONIC), before = pace(sentinel), ms;
    uint64_t state = job.seed;
    bool preempted;
    for (int i = 0; i < job.n_models; i++)
        order[i] = i;
    for (int round = 0; round < job.rounds; round++) {
        shuffle(order, job.n_models, &state);
        for (int i = 0; i < job.n_models; i++) {
            Model *model = &job.models[order[i]];
            if (model->failed)
                continue;
            if (visits && now_ms(CLOCK_MONOTONIC) - started > job.seconds * 1e3)
                return visits;
            tell("at %d", model->number);
            model->failed = !visit(&model->loads[round % model->n_loads], model->runs, &ms, &preempted);
            if (model->failed)
                tell("failed %d %s", model->number, trouble);
            double after = pace(sentinel), slower = after > before ? after : before;
            before = after;
            if (!model->failed && ms > 0 && slower > 0) {
                tell("visit %d %d %.6f %.6f %d", round, model->number, ms, slower, preempted);
                visits++;
            }
        }
    }
    return visits;
}

/* ---- the process ---- */

/* Keep to the CPUs asked for, or to the last of those allowed: on phones the fast ones tend to come last. */
static void pin(void) {
    cpu_set_t allowed, wanted, got;
    CPU_ZERO(&wanted);
    sched_getaffinity(0, sizeof allowed, &allowed);
    for (char *next = job.cpus; *next; next += *next == ',') {
        unsigned long cpu = strtoul(next, &next, 10);
        if (cpu >= CPU_SETSIZE || !CPU_ISSET(cpu, &allowed))
            refuse("there is no such CPU, or it is not allowed", job.cpus);
        CPU_SET(cpu, &wanted);
    }
    for (int cpu = CPU_SETSIZE - 1; cpu >= 0 && !*job.cpus && CPU_COUNT(&wanted) < job.threads; cpu--)
        if (CPU_ISSET(cpu, &allowed))
            CPU_SET(cpu, &wanted);
    /* Linux drops CPUs that are switched off from what is asked for, without a word */
    bool done = !sched_setaffinity(0, sizeof wanted, &wanted) && !sched_getaffinity(0, sizeof got, &got) &&
                CPU_EQUAL(&wanted, &got);
    if (*job.cpus && !done)
        refuse("these CPUs are refused", job.cpus);
}

static int run(const char *token, const char *version) {
    sigset_t alarms;
    sigemptyset(&alarms);
    sigaddset(&alarms, SIGALRM);
    sigprocmask(SIG_UNBLOCK, &alarms, NULL); /* whoever started us may have blocked or ignored it */
    signal(SIGALRM, SIG_DFL);
    alarm((unsigned)job.deadline);
    tell("hwnas-result 1 %s", token);
    tell("runtime %s", version);
    pin();
    if (!prepare_runtime(job.threads))
        refuse("the runtime cannot be prepared", trouble);
    Load beside = sentinel();
    for (int i = 0; i < job.n_models; i++) {
        Model *model = &job.models[i];
        tell("at %d", model->number);
        model->failed = !prepare(model);
        if (model->failed)
            tell("failed %d %s", model->number, trouble);
    }
    tell("end %ld", measure(&beside));
    return DONE;
}

static int create(const char *name, int how) {
    int file = open(in_folder(name), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | how, 0644);
    if (file < 0 && errno == EEXIST) { /* the same start told twice, because its answer was lost, makes no second run */
        puts("started before");
        exit(DONE);
    }
    if (file < 0) {
        int why = errno;
        unlink(in_folder("result")); /* what has not begun may be started again */
        die(NO_RESULT, "%s cannot be created: %s", in_folder(name), strerror(why));
    }
    return file;
}

/* Goes on in a child that no terminal and no connection can take along; returns where to tell that it has begun. */
static int detach(void) {
    int log = create("log", O_TRUNC), null = open("/dev/null", O_RDONLY), ready[2], status = 0;
    char sign;
    pid_t child = pipe2(ready, O_CLOEXEC) ? -1 : fork();
    if (child < 0)
        die(NO_RESULT, "no process can be started: %s", strerror(errno));
    if (!child) {
        setsid();
        if (dup2(null, 0) < 0 || dup2(log, 1) < 0 || dup2(log, 2) < 0)
            die(NO_RESULT, "the log cannot be used: %s", strerror(errno));
        return ready[1];
    }
    close(ready[1]);
    if (read(ready[0], &sign, 1) == 1) {
        printf("started %d\n", (int)child);
        fflush(stdout);
        _exit(DONE);
    }
    waitpid(child, &status, 0);
    unlink(in_folder("result"));
    die(WIFEXITED(status) ? WEXITSTATUS(status) : NO_RESULT, "the run did not begin; the disk may be full");
}

int main(int argc, char **argv) {
    bool ask = argc == 2 && !strcmp(argv[1], "--version"), foreground = argc == 4 && !strcmp(argv[1], "--foreground");
    const char *token = argv[argc - 1];
    if (!ask && (argc != 3 + foreground || !*token || token[strspn(token, "0123456789abcdefABCDEF")]))
        die(USAGE, "use: runner --version, or runner [--foreground] FOLDER TOKEN");
    folder = argv[argc - 2];
    if (!ask)
        read_job(token);
    const char *version = open_runtime();
    if (!version)
        die(NO_RUNTIME, "the runtime cannot be used: %s", trouble);
    if (ask)
        return printf("hwnas-runner 1 onnxruntime %s\n", version) < 0;
    job_clock = strcmp(job.clock, "cpu") ? CLOCK_MONOTONIC : CLOCK_PROCESS_CPUTIME_ID;
    result = create("result", O_EXCL);
    int ready = foreground ? open("/dev/null", O_WRONLY) : detach();
    if (dprintf(create("pid", O_TRUNC), "%d\n", (int)getpid()) < 0 || write(ready, "!", 1) != 1)
        die(NO_RESULT, "the process cannot be announced: %s", strerror(errno));
    close(ready);
    _exit(run(token, version)); /* not through the runtime's own farewell, which can only fail */
}
