// A grid whose blocks run one after another, and a block's threads from barrier to barrier.
#include "device.h"

#include <fenv.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>

extern const struct kernel kernels[];
extern const size_t kernel_count;

enum { leftover_byte = 0xCB, guard_bytes = 128, most_rows_of_blocks = 65535 };

static _Thread_local char message[2048];
static _Thread_local jmp_buf launch;

void fail(const struct block* b, const char* site, const char* format, unsigned long long x, unsigned long long y) {
    char problem[200];
    snprintf(problem, sizeof problem, format, x, y);
    snprintf(message, sizeof message, "%s, block (%u, %u), thread %u: %s (%s)", b->kernel->name, b->x, b->y, b->thread,
             problem, site);
    longjmp(launch, 1);
}

void race(const struct block* b, const char* site, uint64_t address, uint32_t other) {
    if (other == SEVERAL) fail(b, site, "no barrier since several threads read shared address 0x%llx", address, 0);
    fail(b, site, "no barrier since shared address 0x%llx was used by thread %llu", address, other);
}

// Everything that a launch allocates.
struct memory {
    uint8_t *parameters, *shared, *local, *states;
    struct cell* cells;
};

static void run_block(struct block* b, const struct memory* memory) {
    const struct kernel* kernel = b->kernel;
    const size_t state_bytes = *kernel->state_bytes;
    memset(memory->shared, leftover_byte, kernel->shared_bytes);
    memset(memory->local, leftover_byte, kernel->local_bytes * b->threads);
    memset(memory->states, 0, state_bytes * b->threads);
    uint32_t barrier;
    do {
        ++b->phase;
        barrier = 0;
        for (uint32_t i = 0; i < b->threads; ++i) {
            // Every other time backwards: what a thread does must not depend on another's doing it before.
            b->thread = b->phase % 2 == 1 ? i : b->threads - 1 - i;
            b->local = memory->local + kernel->local_bytes * b->thread;
            void* state = memory->states + state_bytes * b->thread;
            const uint32_t reached = kernel->run(b, state);
            memcpy(state, &reached, sizeof reached);
            if (i == 0) barrier = reached;
            if (reached != barrier) {
                fail(b, "bar.sync", "waits at barrier %llu of the text, others at %llu; 0 is the end", reached,
                     barrier);
            }
        }
    } while (barrier != 0);
}

static void run_grid(struct block* b, const struct memory* memory) {
    for (b->y = 0; b->y < b->height; ++b->y) {
        for (b->x = 0; b->x < b->width; ++b->x) run_block(b, memory);
    }
}

static const struct kernel* found(const char* name) {
    for (size_t i = 0; i < kernel_count; ++i) {
        if (strcmp(kernels[i].name, name) == 0) return &kernels[i];
    }
    return NULL;
}

static uint8_t* allocated(size_t bytes) {
    return aligned_alloc(guard_bytes, (bytes + 2 * guard_bytes - 1) / guard_bytes * guard_bytes);
}

// Null, or why a GPU would not begin.
static const char* refused(const struct kernel* kernel, const char* name, uint32_t grid_x, uint32_t grid_y,
                           uint32_t threads, size_t size) {
    if (kernel == NULL) {
        snprintf(message, sizeof message, "there is no kernel %s", name);
        return message;
    }
    const bool has_threads =
        kernel->exact_threads ? threads == kernel->max_threads : threads != 0 && threads <= kernel->max_threads;
    if (size == kernel->parameter_bytes && has_threads && grid_x != 0 && grid_x <= INT32_MAX && grid_y != 0 &&
        grid_y <= most_rows_of_blocks) {
        return NULL;
    }
    snprintf(message, sizeof message,
             "launch of %s with %zu bytes of parameters, not %zu, %u threads, at most %u, and "
             "a grid of %u x %u",
             name, size, kernel->parameter_bytes, threads, kernel->max_threads, grid_x, grid_y);
    return message;
}

// Runs one launch; gives null, or what went wrong, which holds until the next call of the same thread.
__attribute__((visibility("default"))) const char* fastes_simulate(const char* name, uint32_t grid_x, uint32_t grid_y,
                                                                   uint32_t threads, const void* parameters,
                                                                   size_t size) {
    const struct kernel* kernel = found(name);
    if (refused(kernel, name, grid_x, grid_y, threads, size) != NULL) return message;
    const size_t cells = kernel->shared_bytes / kernel->cell_bytes + 1;
    struct memory memory = {
        allocated(size),
        allocated(kernel->shared_bytes),
        allocated(kernel->local_bytes * threads),
        allocated(*kernel->state_bytes * threads),
        calloc(cells, sizeof(struct cell)),
    };
    const bool enough = memory.parameters && memory.shared && memory.local && memory.states && memory.cells;
    bool failed = !enough;
    if (enough) {
        if (size != 0) memcpy(memory.parameters, parameters, size);
        struct block block = {
            kernel, memory.parameters, memory.shared, memory.local, memory.cells, 0, 0, grid_x, grid_y, threads, 0, 0};
        fenv_t environment;  // a GPU rounds to nearest and keeps subnormal numbers, whatever the CPU's thread does
        fegetenv(&environment);
        fesetenv(FE_DFL_ENV);
        if (setjmp(launch) == 0) {
            run_grid(&block, &memory);
        } else {
            failed = true;
        }
        fesetenv(&environment);
    } else {
        snprintf(message, sizeof message, "there is not enough memory for %s", name);
    }
    free(memory.parameters);
    free(memory.shared);
    free(memory.local);
    free(memory.states);
    free(memory.cells);
    return failed ? message : NULL;
}
