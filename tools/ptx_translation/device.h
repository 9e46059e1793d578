// What translated kernels stand on: a block's memory, every access to it checked, and PTX's operations that C lacks.
#pragma once

#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

// Where generic addresses of other memory than global begin; nothing of a process is there.
#define PARAMETER_WINDOW UINT64_C(0xFFFF900000000000)
#define SHARED_WINDOW UINT64_C(0xFFFF910000000000)
#define LOCAL_WINDOW UINT64_C(0xFFFF920000000000)
#define FIRST_PAGE 4096
#define SHARED_BASE 1024  // as in parse.py

struct block;

struct kernel {
    const char* name;
    uint32_t (*run)(struct block*, void* state);  // the barrier where the thread waits, or 0 at its end
    const size_t* state_bytes;
    size_t parameter_bytes, shared_bytes, local_bytes;
    uint32_t max_threads;
    bool exact_threads;
    uint32_t cell_bytes;  // of shared memory that no two threads share unnoticed
};

// Who used a cell of shared memory last, and between which barriers.
struct cell {
    uint32_t write_phase, writer, read_phase, reader;
};
#define SEVERAL UINT32_MAX

struct block {
    const struct kernel* kernel;
    uint8_t *parameters, *shared, *local;  // local memory is that of `thread`
    struct cell* cells;
    uint32_t x, y, width, height, threads, thread, phase;
};

// Ends the launch with a message.
_Noreturn void fail(const struct block* b, const char* site, const char* format, unsigned long long x,
                    unsigned long long y);
_Noreturn void race(const struct block* b, const char* site, uint64_t address, uint32_t other);

static inline void* checked(const struct block* b, uint8_t* memory, size_t size, uint64_t offset, uint64_t address,
                            uint32_t bytes, const char* site) {
    if (offset > size || size - offset < bytes) {
        fail(b, site, "address 0x%llx is outside of %llu bytes of memory", address, size);
    }
    return memory + offset;
}

static inline void aligned(const struct block* b, uint64_t address, uint32_t bytes, const char* site) {
    if (address % bytes != 0) fail(b, site, "address 0x%llx is not a multiple of %llu", address, bytes);
}

static inline void* parameter_at(const struct block* b, uint64_t address, uint32_t bytes, bool stores,
                                 const char* site) {
    (void)stores;
    aligned(b, address, bytes, site);
    return checked(b, b->parameters, b->kernel->parameter_bytes, address, address, bytes, site);
}

static inline void* local_at(const struct block* b, uint64_t address, uint32_t bytes, bool stores, const char* site) {
    (void)stores;
    aligned(b, address, bytes, site);
    return checked(b, b->local, b->kernel->local_bytes, address, address, bytes, site);
}

static inline void* global_at(const struct block* b, uint64_t address, uint32_t bytes, bool stores, const char* site) {
    (void)stores;
    aligned(b, address, bytes, site);
    if (address < FIRST_PAGE || address >= PARAMETER_WINDOW) {
        fail(b, site, "address 0x%llx is not in global memory", address, 0);
    }
    return (void*)(uintptr_t)address;
}

// Between two barriers a cell has one writer and nobody else who reads, or only readers.
static inline void* shared_at(const struct block* b, uint64_t address, uint32_t bytes, bool stores, const char* site) {
    aligned(b, address, bytes, site);
    const uint64_t offset = address - SHARED_BASE;
    void* memory = checked(b, b->shared, b->kernel->shared_bytes, offset, address, bytes, site);
    const uint32_t size = b->kernel->cell_bytes;
    struct cell* end = b->cells + (offset + bytes - 1) / size;
    for (struct cell* cell = b->cells + offset / size; cell <= end; ++cell) {
        if (cell->write_phase == b->phase && cell->writer != b->thread) race(b, site, address, cell->writer);
        if (stores) {
            if (cell->read_phase == b->phase && cell->reader != b->thread) race(b, site, address, cell->reader);
            cell->write_phase = b->phase;
            cell->writer = b->thread;
        } else {
            cell->reader = cell->read_phase == b->phase && cell->reader != b->thread ? SEVERAL : b->thread;
            cell->read_phase = b->phase;
        }
    }
    return memory;
}

static inline void* generic_at(const struct block* b, uint64_t address, uint32_t bytes, bool stores, const char* site) {
    if (address < PARAMETER_WINDOW) return global_at(b, address, bytes, stores, site);
    if (address < SHARED_WINDOW) {
        if (stores) fail(b, site, "stores to a parameter, at 0x%llx", address, 0);
        return parameter_at(b, address - PARAMETER_WINDOW, bytes, stores, site);
    }
    if (address < LOCAL_WINDOW) return shared_at(b, address - SHARED_WINDOW, bytes, stores, site);
    return local_at(b, address - LOCAL_WINDOW, bytes, stores, site);
}

static inline uint32_t bits_of_f32(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}
static inline float f32_of(uint32_t bits) {
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}
static inline uint64_t bits_of_f64(double x) {
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}
static inline double f64_of(uint64_t bits) {
    double x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

// Arithmetic in binary32 gives only this NaN.
static inline float canonical(float x) {
    return x != x ? f32_of(0x7FFFFFFFu) : x;
}

// To nearest, ties to even.
static inline uint16_t f16_of_f32(float x) {
    const uint32_t bits = bits_of_f32(x), sign = bits >> 16 & 0x8000u, size = bits & 0x7FFFFFFFu;
    if (size > 0x7F800000u) return 0x7FFF;
    if (size >= 0x47800000u) return (uint16_t)(sign | 0x7C00u);  // from 2^16
    // Below 2^-14 the sum with 0.5, whose last place is 2^-24, rounds.
    if (size < 0x38800000u) return (uint16_t)(sign | (bits_of_f32(f32_of(size) + 0.5f) - 0x3F000000u));
    return (uint16_t)(sign | (size + 0xFFFu + (size >> 13 & 1u) - 0x38000000u) >> 13);
}
static inline float f32_of_f16(uint16_t bits) {
    const float sign = bits >> 15 ? -1.0f : 1.0f;
    const int exponent = bits >> 10 & 31, mantissa = bits & 0x3FF;
    if (exponent == 31) return mantissa ? f32_of(0x7FFFFFFFu) : sign * INFINITY;
    return sign * ldexpf((float)(exponent ? mantissa | 0x400 : mantissa), (exponent ? exponent : 1) - 25);
}
static inline uint16_t bf16_of_f32(float x) {
    const uint32_t bits = bits_of_f32(x);
    if (x != x) return 0x7FFF;
    return (uint16_t)((bits + 0x7FFFu + (bits >> 16 & 1u)) >> 16);
}

// A NaN only of two; -0 is less than +0.
static inline float min_f32(float x, float y) {
    if (x != x) return canonical(y);
    if (y != y) return x;
    return x < y || (x == y && signbit(x)) ? x : y;
}
static inline float max_f32(float x, float y) {
    if (x != x) return canonical(y);
    if (y != y) return x;
    return x > y || (x == y && !signbit(x)) ? x : y;
}
static inline double min_f64(double x, double y) {
    if (x != x) return y;
    if (y != y) return x;
    return x < y || (x == y && signbit(x)) ? x : y;
}
static inline double max_f64(double x, double y) {
    if (x != x) return y;
    if (y != y) return x;
    return x > y || (x == y && !signbit(x)) ? x : y;
}

// A GPU's quotient by 0 is not specified; that of the least number by -1 wraps.
#define QUOTIENTS(kind, type, is_signed)                                                     \
    static inline type div_##kind(const struct block* b, type x, type y, const char* site) { \
        if (y == 0) fail(b, site, "divides 0x%llx by %llu", (unsigned long long)x, 0);       \
        return is_signed && y == (type) - 1 ? (type)(0u - (uint64_t)x) : (type)(x / y);      \
    }                                                                                        \
    static inline type rem_##kind(const struct block* b, type x, type y, const char* site) { \
        if (y == 0) fail(b, site, "divides 0x%llx by %llu", (unsigned long long)x, 0);       \
        return is_signed && y == (type) - 1 ? 0 : (type)(x % y);                             \
    }
QUOTIENTS(u16, uint16_t, false)
QUOTIENTS(s16, int16_t, true)
QUOTIENTS(u32, uint32_t, false)
QUOTIENTS(s32, int32_t, true)
QUOTIENTS(u64, uint64_t, false)
QUOTIENTS(s64, int64_t, true)
#undef QUOTIENTS

// Four bytes out of eight, or copies of their signs.
static inline uint32_t prmt(uint32_t x, uint32_t y, uint32_t control) {
    const uint64_t bytes = (uint64_t)y << 32 | x;
    uint32_t result = 0;
    for (int i = 0; i < 4; ++i) {
        const uint32_t selector = control >> 4 * i & 15u, byte = (uint32_t)(bytes >> 8 * (selector & 7u)) & 255u;
        result |= (selector < 8 ? byte : (byte >> 7) * 255u) << 8 * i;
    }
    return result;
}

// `length` bits from `position`, which may lie beyond the width; signed ones repeat the last bit that there is.
static inline uint64_t bfe(uint64_t x, uint32_t position, uint32_t length, uint32_t width, bool is_signed) {
    position &= 255u;
    length &= 255u;
    if (length == 0) return 0;
    const uint32_t end = position + length < width ? position + length : width;
    const uint64_t fill = is_signed && (x >> (end - 1) & 1u) != 0 ? UINT64_MAX : 0;
    uint64_t result = fill;
    for (uint32_t i = 0; i < width && i < length; ++i) {
        const uint64_t bit = position + i < width ? x >> (position + i) & 1u : fill & 1u;
        result = (result & ~(UINT64_C(1) << i)) | bit << i;
    }
    return result;
}

// y with the lowest `length` bits of x from `position`.
static inline uint64_t bfi(uint64_t x, uint64_t y, uint32_t position, uint32_t length, uint32_t width) {
    position &= 255u;
    length &= 255u;
    for (uint32_t i = 0; i < length && position + i < width; ++i) {
        y = (y & ~(UINT64_C(1) << (position + i))) | (x >> i & 1u) << (position + i);
    }
    return y;
}
