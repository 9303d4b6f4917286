/* What the native runner is told and what it tells: FOLDER/job and FOLDER/result, lines of words.
 *
 *     hwnas-job 1 TOKEN
 *     clock wall|cpu        cpu: the process's CPU time, all that an emulated device repeats
 *     threads N
 *     cpus 2,3              where this is missing: the last ones allowed
 *     warmup N              runs before rounds begin
 *     visit_ms X            a visit repeats short runs up to this long
 *     rounds N              end after so many rounds,
 *     seconds X             or after so long, whichever comes first; at least one visit is made
 *     deadline N            the process is gone after so many seconds, whatever happens
 *     seed N                of the order of visits
 *     loads N X             models faster than X ms are loaded N times, and so is the sentinel
 *     sentinel FILE         relative to FOLDER, like those of the models
 *     model NUMBER FILE     any number of these
 *
 *     hwnas-result 1 TOKEN
 *     runtime VERSION
 *     at MODEL              written before anything is done with it: after a crash the last one names the culprit
 *     visit ROUND MODEL MS SENTINEL_MS PREEMPTED
 *     failed MODEL WHY      the others go on
 *     refused WHY           nothing can be measured at all
 *     end VISITS            without this line, or `refused`, the run did not end
 */
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "runtime.h"

enum { DONE, REFUSED, USAGE, BAD_JOB, NO_RUNTIME, NO_RESULT };
enum { MAX_LOADS = 16 };

__attribute__((noreturn, format(printf, 2, 3))) static void die(int code, const char *form, ...) {
    char text[1024];
    va_list words;
    va_start(words, form);
    vsnprintf(text, sizeof text, form, words);
    fprintf(stderr, "runner: %s\n", text);
    _exit(code);
}

typedef struct { int number, n_loads, runs, visited; bool failed; char file[64]; Load loads[MAX_LOADS]; } Model;
static struct {
    int threads, warmup, rounds, deadline, loads, n_models;
    double visit_ms, seconds, small_ms;
    unsigned long long seed;
    char clock[8], cpus[512], sentinel[64];
    Model *models;
} job = {.threads = -1, .warmup = -1, .rounds = -1, .deadline = -1};
static const char *folder;

static const char *in_folder(const char *name) {
    static char path[4096];
    if (snprintf(path, sizeof path, "%s/%s", folder, name) >= (int)sizeof path)
        die(USAGE, "the folder's name is too long");
    return path;
}

static bool understand(const char *line) {
    int end = 0;
    Model found = {0};
#define IS(count, form, ...) (sscanf(line, form "%n", __VA_ARGS__, &end) == (count) && end == (int)strlen(line))
    if (IS(2, "model %d %63s", &found.number, found.file)) {
        job.models = realloc(job.models, (size_t)(job.n_models + 1) * sizeof found);
        if (job.models)
            job.models[job.n_models++] = found;
        return job.models;
    }
    return IS(1, "clock %7s", job.clock) || IS(1, "threads %d", &job.threads) || IS(1, "cpus %511[0-9,]", job.cpus) ||
           IS(1, "warmup %d", &job.warmup) || IS(1, "visit_ms %lf", &job.visit_ms) ||
           IS(1, "rounds %d", &job.rounds) || IS(1, "seconds %lf", &job.seconds) ||
           IS(1, "deadline %d", &job.deadline) || IS(1, "seed %llu", &job.seed) ||
           IS(2, "loads %d %lf", &job.loads, &job.small_ms) || IS(1, "sentinel %63s", job.sentinel);
}

static void read_job(const char *token) {
    FILE *file = fopen(in_folder("job"), "r");
    char line[1024], first[1024];
    if (!file)
        die(BAD_JOB, "the job cannot be read: %s", strerror(errno));
    snprintf(first, sizeof first, "hwnas-job 1 %s\n", token);
    if (!fgets(line, sizeof line, file) || strcmp(line, first))
        die(BAD_JOB, "line 1 of the job is not `hwnas-job 1` with the token of this run");
    for (int number = 2; fgets(line, sizeof line, file); number++) {
        size_t length = strcspn(line, "\n");
        bool whole = line[length];
        line[length] = 0;
        if (!whole || !understand(line))
            die(BAD_JOB, "line %d of the job is not understood: %.200s", number, line);
    }
    bool clock = !strcmp(job.clock, "cpu") || !strcmp(job.clock, "wall");
    if (!clock || job.threads < 1 || job.warmup < 0 || job.rounds < 1 || job.deadline < 1 || job.loads < 1 ||
        job.loads > MAX_LOADS || !(job.visit_ms > 0) || !(job.seconds > 0) || !*job.sentinel)
        die(BAD_JOB, "the job lacks a line, or one has a value that cannot be");
}

/* Each line of the result is ASCII and written by one call, so that only the last one can be cut. */

static int result = -1;

__attribute__((format(printf, 1, 2))) static void tell(const char *form, ...) {
    char line[1024];
    va_list words;
    va_start(words, form);
    int length = vsnprintf(line, sizeof line - 1, form, words);
    va_end(words);
    length = length < (int)sizeof line - 2 ? length : (int)sizeof line - 2;
    for (int i = 0; i < length; i++)
        if (line[i] < ' ' || line[i] > '~')
            line[i] = ' ';
    line[length++] = '\n';
    errno = ENOSPC; /* what a write that stops half-way means, though it sets nothing */
    if (write(result, line, (size_t)length) != length)
        die(NO_RESULT, "the result cannot be written: %s", strerror(errno));
}

__attribute__((noreturn)) static void refuse(const char *what, const char *why) {
    tell("refused %s: %s", what, why);
    die(REFUSED, "%s: %s", what, why);
}
