/* What the native runner needs of onnxruntime: opening it, loading a model with its input and output bound, running it.
 *
 * The declarations are our own, and only what is used: nothing but libc is needed to build. A function that returns
 * bool is false where the runtime refused, and leaves in `trouble` what it said.
 */
#include <dlfcn.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* Its table of functions is only ever appended to, so a place in it is part of its ABI. */
typedef struct Status Status;
typedef struct Env Env;
typedef struct Options Options;
typedef struct Session Session;
typedef struct Binding Binding;
typedef struct Value Value;
typedef struct Type Type;
typedef struct Tensor Tensor;
typedef struct Allocator Allocator;
typedef struct {
    void *skipped_0[2];
    const char *(*GetErrorMessage)(const Status *);
    Status *(*CreateEnv)(int severity, const char *name, Env **);
    void *skipped_4[3];
    Status *(*CreateSession)(const Env *, const char *path, const Options *, Session **);
    void *skipped_8[2];
    Status *(*CreateSessionOptions)(Options **);
    void *skipped_11[13];
    Status *(*SetIntraOpNumThreads)(Options *, int);
    Status *(*SetInterOpNumThreads)(Options *, int);
    void *skipped_26[4];
    Status *(*SessionGetInputCount)(const Session *, size_t *);
    Status *(*SessionGetOutputCount)(const Session *, size_t *);
    void *skipped_32;
    Status *(*SessionGetInputTypeInfo)(const Session *, size_t, Type **);
    Status *(*SessionGetOutputTypeInfo)(const Session *, size_t, Type **);
    void *skipped_35;
    Status *(*SessionGetInputName)(const Session *, size_t, Allocator *, char **);
    Status *(*SessionGetOutputName)(const Session *, size_t, Allocator *, char **);
    void *skipped_38[10];
    Status *(*CreateTensorAsOrtValue)(Allocator *, const int64_t *dims, size_t rank, int element, Value **);
    void *skipped_49[2];
    Status *(*GetTensorMutableData)(Value *, void **);
    void *skipped_52[3];
    Status *(*CastTypeInfoToTensorInfo)(const Type *, const Tensor **);
    void *skipped_56[4];
    Status *(*GetTensorElementType)(const Tensor *, int *);
    Status *(*GetDimensionsCount)(const Tensor *, size_t *);
    Status *(*GetDimensions)(const Tensor *, int64_t *dims, size_t rank);
    void *skipped_63[15];
    Status *(*GetAllocatorWithDefaultOptions)(Allocator **);
    void *skipped_79[14];
    void (*ReleaseStatus)(Status *);
    void *skipped_94[36];
    Status *(*AddSessionConfigEntry)(Options *, const char *key, const char *value);
    void *skipped_131[2];
    Status *(*RunWithBinding)(Session *, const void *run_options, const Binding *);
    Status *(*CreateIoBinding)(Session *, Binding **);
    void *skipped_135;
    Status *(*BindInput)(Binding *, const char *name, const Value *);
    Status *(*BindOutput)(Binding *, const char *name, const Value *);
} Api;
_Static_assert(offsetof(Api, BindOutput) == 137 * sizeof(void *), "a place in the table is wrong");
enum { API_VERSION = 12, ELEMENT_FLOAT = 1, ELEMENT_UINT8 = 2, ERRORS_ONLY = 3 };

static const Api *ort;
static Env *env;
static Options *options;
static Allocator *allocator;
static char trouble[800]; /* what the runtime said when it last refused something */

static bool refuses(Status *status) {
    if (!status)
        return false;
    snprintf(trouble, sizeof trouble, "%s", ort->GetErrorMessage(status));
    ort->ReleaseStatus(status);
    return true;
}
#define TRY(call) do { if (refuses(call)) return false; } while (0)

/* The runtime's version; NULL where there is none that can be used. */
static const char *open_runtime(void) {
    struct { const Api *(*GetApi)(uint32_t); const char *(*GetVersionString)(void); } *(*base)(void);
    void *library = dlopen("libonnxruntime.so.1", RTLD_NOW);
    if (!library) {
        snprintf(trouble, sizeof trouble, "%s", dlerror());
        return NULL;
    }
    *(void **)&base = dlsym(library, "OrtGetApiBase");
    ort = base ? base()->GetApi(API_VERSION) : NULL;
    snprintf(trouble, sizeof trouble, "libonnxruntime.so.1 is no onnxruntime from 1.12 on");
    return ort ? base()->GetVersionString() : NULL;
}

static bool prepare_runtime(int threads) {
    setenv("ORT_DISABLE_TELEMETRY", "1", 1); /* 1.31 would write to the home folder and call its maker */
    TRY(ort->CreateEnv(ERRORS_ONLY, "hwnas", &env));
    TRY(ort->CreateSessionOptions(&options)); /* all graph optimisations are the default */
    TRY(ort->SetIntraOpNumThreads(options, threads));
    TRY(ort->SetInterOpNumThreads(options, 1));
    TRY(ort->AddSessionConfigEntry(options, "session.intra_op.allow_spinning", "0"));
    TRY(ort->GetAllocatorWithDefaultOptions(&allocator));
    return true;
}

/* splitmix64 (Steele et al. 2014) */
static uint64_t random_bits(uint64_t *state) {
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

typedef struct { Session *session; Binding *binding; } Load;

static bool bind(Load *load, size_t place, bool input, uint64_t *state) {
    Type *type;
    const Tensor *tensor;
    char *name;
    size_t rank, count = 1;
    int element;
    Value *value;
    void *data;
    TRY((input ? ort->SessionGetInputName : ort->SessionGetOutputName)(load->session, place, allocator, &name));
    TRY((input ? ort->SessionGetInputTypeInfo : ort->SessionGetOutputTypeInfo)(load->session, place, &type));
    TRY(ort->CastTypeInfoToTensorInfo(type, &tensor));
    if (tensor)
        TRY(ort->GetTensorElementType(tensor, &element));
    if (!tensor || (input && element != ELEMENT_FLOAT && element != ELEMENT_UINT8)) {
        snprintf(trouble, sizeof trouble, "%s is no tensor of float32 or uint8", name);
        return false;
    }
    TRY(ort->GetDimensionsCount(tensor, &rank));
    int64_t dims[rank + 1];
    TRY(ort->GetDimensions(tensor, dims, rank));
    for (size_t i = 0; i < rank; i++) {
        dims[i] = dims[i] < 1 ? 1 : dims[i]; /* a dimension left open */
        count *= (size_t)dims[i];
    }
    TRY(ort->CreateTensorAsOrtValue(allocator, dims, rank, element, &value));
    if (!input) {
        TRY(ort->BindOutput(load->binding, name, value));
        return true;
    }
    TRY(ort->GetTensorMutableData(value, &data));
    for (size_t i = 0; i < count; i++) {
        if (element == ELEMENT_FLOAT)
            ((float *)data)[i] = (float)(random_bits(state) >> 40) / (1 << 23) - 1;
        else
            ((uint8_t *)data)[i] = (uint8_t)(random_bits(state) >> 56);
    }
    TRY(ort->BindInput(load->binding, name, value));
    return true;
}

static bool open_load(Load *load, const char *path) {
    size_t inputs, outputs;
    uint64_t state = 0; /* the same input for every load and run */
    TRY(ort->CreateSession(env, path, options, &load->session));
    TRY(ort->CreateIoBinding(load->session, &load->binding));
    TRY(ort->SessionGetInputCount(load->session, &inputs));
    TRY(ort->SessionGetOutputCount(load->session, &outputs));
    for (size_t i = 0; i < inputs + outputs; i++)
        if (!bind(load, i < inputs ? i : i - inputs, i < inputs, &state))
            return false;
    return true;
}
