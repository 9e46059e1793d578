// One lane: the definition that every other instruction set has to equal, the reference on any machine, and what a
// GPU's threads compute with.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "fastes/half.hpp"
#include "fastes/levels.hpp"
#include "fastes/target.hpp"

namespace fastes {
inline namespace FASTES_ISA {

FASTES_CALLABLE inline std::uint32_t bits_of(float x) {
    std::uint32_t bits;
    std::memcpy(&bits, &x, sizeof bits);
    return bits;
}

FASTES_CALLABLE inline float float_of(std::uint32_t bits) {
    float x;
    std::memcpy(&x, &bits, sizeof x);
    return x;
}

// a b + c with one rounding. Without the instruction: the product of two floats is exact in double, and the sum,
// rounded to odd there (53 >= 2 * 24 + 2 bits), rounds to float as the exact sum does (Boldo and Melquiond 2008).
FASTES_CALLABLE inline float fused_multiply_add(float a, float b, float c) {
#if defined(__CUDA_ARCH__)
    return __fmaf_rn(a, b, c);
#elif defined(__FMA__) || defined(__aarch64__)
    return __builtin_fmaf(a, b, c);
#else
    const double product = static_cast<double>(a) * b;
    const double sum = product + c;
    const double back = sum - product;
    const double error = (product - (sum - back)) + (c - back);  // exact: Knuth's TwoSum
    std::uint64_t bits;
    std::memcpy(&bits, &sum, sizeof bits);
    if (error != 0.0 && (bits & 1) == 0) {  // false for infinities and NaN, whose error is NaN or sum is exact
        if (error == error) bits += ((error > 0.0) == (sum > 0.0)) ? 1 : std::uint64_t(-1);
    }
    double odd;
    std::memcpy(&odd, &bits, sizeof odd);
    return static_cast<float>(odd);
#endif
}

// All 64 bits. Compilers for GPUs make a product of 64 bits of it, which is more, and have to be told.
FASTES_CALLABLE inline std::uint64_t product(std::uint32_t a, std::uint32_t b) {
#if defined(__CUDA_ARCH__)
    unsigned long long p;
    asm("mul.wide.u32 %0, %1, %2;" : "=l"(p) : "r"(a), "r"(b));
    return p;
#else
    return std::uint64_t{a} * b;
#endif
}

// Rounded once each, whatever a compiler for GPUs would like to contract or approximate.
FASTES_CALLABLE inline float rounded_sum(float a, float b) {
#if defined(__CUDA_ARCH__)
    return __fadd_rn(a, b);
#else
    return a + b;
#endif
}

FASTES_CALLABLE inline float rounded_product(float a, float b) {
#if defined(__CUDA_ARCH__)
    return __fmul_rn(a, b);
#else
    return a * b;
#endif
}

FASTES_CALLABLE inline float rounded_quotient(float a, float b) {
#if defined(__CUDA_ARCH__)
    return __fdiv_rn(a, b);
#else
    return a / b;
#endif
}

FASTES_CALLABLE inline float rounded_root(float a) {
#if defined(__CUDA_ARCH__)
    return __fsqrt_rn(a);
#else
    return __builtin_sqrtf(a);  // an instruction: compiled without errno
#endif
}

FASTES_CALLABLE inline std::uint16_t rounded_half(float a) {
#if defined(__CUDA_ARCH__)
    std::uint16_t half;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(half) : "f"(a));
    return half;
#else
    return float16_bits(bits_of(a));
#endif
}

FASTES_CALLABLE inline float widened(float16 x) {
#if defined(__CUDA_ARCH__)
    float wide;
    asm("cvt.f32.f16 %0, %1;" : "=f"(wide) : "h"(x.bits));
    return wide;
#else
    return float_of(widened_float16(x.bits));
#endif
}

FASTES_CALLABLE inline float widened(bfloat16 x) {
    return float_of(widened_bfloat16(x.bits));
}

FASTES_CALLABLE inline std::uint16_t rounded_brain(float a) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
    std::uint16_t brain;
    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(brain) : "f"(a));
    return brain;
#else
    return bfloat16_bits(bits_of(a));
#endif
}

struct ScalarLanes {
    static constexpr int width = 1;
    static constexpr int interleave = 1;      // groups in flight
    static constexpr int sum_interleave = 1;  // the same in a weighted sum
    static constexpr int tile_vectors = 4;    // of a row in a tile of a matrix product
    static constexpr int mlp_tiles = 1;       // of 16 outputs each, that registers hold the chains of
    static constexpr const char* name = "scalar";
    using f32 = float;
    using u32 = std::uint32_t;
    using wide = std::uint64_t;

    FASTES_CALLABLE static wide block_lanes(std::uint32_t first) { return first; }
    FASTES_CALLABLE static wide broadcast(std::uint64_t x) { return x; }
    FASTES_CALLABLE static u32 broadcast32(std::uint32_t x) { return x; }
    FASTES_CALLABLE static wide mul_low(wide a, std::uint32_t m) { return product(static_cast<std::uint32_t>(a), m); }
    FASTES_CALLABLE static wide high(wide a) { return a >> 32; }
    FASTES_CALLABLE static wide xor2(wide a, wide b) { return a ^ b; }
    FASTES_CALLABLE static wide xor3(wide a, wide b, wide c) { return a ^ b ^ c; }
    FASTES_CALLABLE static u32 xor3(u32 a, u32 b, u32 c) { return a ^ b ^ c; }
    FASTES_CALLABLE static u32 pack_low(wide a) { return static_cast<u32>(a); }
    FASTES_CALLABLE static u32 pack_high(wide a) { return static_cast<u32>(a >> 32); }

    FASTES_CALLABLE static f32 set(float x) { return x; }
    FASTES_CALLABLE static f32 from_signed(u32 a) { return static_cast<float>(static_cast<std::int32_t>(a)); }
    FASTES_CALLABLE static f32 add(f32 a, f32 b) { return rounded_sum(a, b); }
    FASTES_CALLABLE static f32 mul(f32 a, f32 b) { return rounded_product(a, b); }
    FASTES_CALLABLE static f32 div(f32 a, f32 b) { return rounded_quotient(a, b); }
    FASTES_CALLABLE static f32 fma(f32 a, f32 b, f32 c) { return fused_multiply_add(a, b, c); }
    FASTES_CALLABLE static f32 sqrt(f32 a) { return rounded_root(a); }
    FASTES_CALLABLE static f32 neg(f32 a) { return -a; }
    FASTES_CALLABLE static u32 words_of(f32 a) { return bits_of(a); }
    FASTES_CALLABLE static f32 floats_of(u32 a) { return float_of(a); }
    // a where the sign of x is set, else b.
    FASTES_CALLABLE static f32 choose_negative(f32 x, f32 a, f32 b) { return (bits_of(x) >> 31) != 0 ? a : b; }

    // |a| = 2 mantissa 2^exponent with mantissa in [1/2, 1).
    FASTES_CALLABLE static void split(f32 a, f32& exponent, f32& mantissa) {
        const u32 bits = bits_of(a) & 0x7FFFFFFFu;
        exponent = static_cast<float>(static_cast<std::int32_t>(bits >> 23) - 127);
        mantissa = float_of((bits & 0x007FFFFFu) | 0x3F000000u);
    }
    FASTES_CALLABLE static f32 with_sign_of(f32 a, u32 word) { return float_of(bits_of(a) | (word & 0x80000000u)); }
    FASTES_CALLABLE static void exchange_if_odd(u32 word, f32& a, f32& b) {
        const f32 first = (word & 1) != 0 ? b : a;
        b = (word & 1) != 0 ? a : b;
        a = first;
    }
    FASTES_CALLABLE static void transpose(f32*) {}
    FASTES_CALLABLE static void transpose(u32*) {}
    // Block b's four elements, z[0..3] in its lane, to out + b stride.
    FASTES_CALLABLE static void store_blocks(const f32* z, float* out, std::ptrdiff_t) {
        for (int k = 0; k < 4; ++k) out[k] = z[k];
    }

    template <int N>
    FASTES_CALLABLE static u32 shift_left(u32 a) {
        return a << N;
    }
    template <int N>
    FASTES_CALLABLE static u32 shift_right(u32 a) {
        return a >> N;
    }
    // Bits of a where the mask has ones, of b elsewhere.
    FASTES_CALLABLE static u32 select(std::uint32_t mask, u32 a, u32 b) { return (a & mask) | (b & ~mask); }

    using Table = const float*;  // 16 of them
    FASTES_CALLABLE static Table load_table(const float* p) { return p; }
    FASTES_CALLABLE static f32 lookup(Table table, u32 index) { return table[index & 15u]; }

    // Elements i width .. of a string of bits, lowest first: +1 for 0, -1 for 1.
    FASTES_CALLABLE static f32 signs(const std::uint32_t* words, int i) {
        return float_of(0x3F800000u | ((words[i / 32] >> (i % 32) & 1u) << 31));
    }
    // Each byte to its level, a signed byte: the sign of bit 7, the magnitude in the table.
    FASTES_CALLABLE static u32 levels(u32 word) {
        u32 result = 0;
        for (int p = 0; p < 4; ++p) result |= static_cast<u32>(level(word, p)) % 256u << 8 * p;
        return result;
    }
    FASTES_CALLABLE static int level(u32 word, int p) {  // of byte p
        const int magnitude = normal8_levels[word >> 8 * p & 127u];
        return (word >> 8 * p & 128u) != 0 ? -magnitude : magnitude;
    }
    // The levels of a word's bytes, lowest first, as floats; order_levels puts four such vectors into that order where
    // an instruction set finds them in another.
    FASTES_CALLABLE static void level_floats(u32 word, f32* z) {
        for (int p = 0; p < 4; ++p) z[p] = static_cast<float>(level(word, p));
    }
    FASTES_CALLABLE static void order_levels(f32*) {}
    FASTES_CALLABLE static f32 widen(const std::int8_t* p) { return static_cast<float>(*p); }

    FASTES_CALLABLE static f32 load(const float* p) { return *p; }
    FASTES_CALLABLE static f32 load(const float16* p) { return widened(*p); }
    FASTES_CALLABLE static f32 load(const bfloat16* p) { return widened(*p); }
    // Part v of a tile that repeats four floats.
    FASTES_CALLABLE static f32 load_quad(const float* p, int v) { return p[v % 4]; }
    FASTES_CALLABLE static u32 load_words(const std::uint32_t* p) { return *p; }
    FASTES_CALLABLE static void store_words(std::uint32_t* p, u32 a) { *p = a; }
    FASTES_CALLABLE static void store(float* p, f32 a) { *p = a; }
    FASTES_CALLABLE static void stream(float* p, f32 a) {
        store(p, a);
    }  // past the caches where that can be; fence() ends it
    FASTES_CALLABLE static void fence() {}
    FASTES_CALLABLE static void store(float16* p, f32 a) { p->bits = rounded_half(a); }
    FASTES_CALLABLE static void store(bfloat16* p, f32 a) { p->bits = rounded_brain(a); }
};

}  // namespace FASTES_ISA
}  // namespace fastes
