// Eight lanes: AVX2, FMA, F16C.
//
// `wide` is two registers of four 64-bit lanes: the even and the odd 32-bit positions. Block 2 i + l sits at position
// 4 l + i, so that a 4 x 4 transpose inside each 128-bit half gives elements in order.
#pragma once

#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "fastes/half.hpp"
#include "fastes/level_lookups.hpp"

namespace fastes {
inline namespace FASTES_ISA {

struct Avx2Lanes {
    static constexpr int width = 8;
    static constexpr int interleave = 2;      // groups in flight
    static constexpr int sum_interleave = 1;  // the same in a weighted sum
    static constexpr int tile_vectors = 2;    // of a row in a tile of a matrix product
    static constexpr int mlp_tiles = 1;       // of 16 outputs each, that registers hold the chains of
    static constexpr const char* name = "avx2";
    using f32 = __m256;
    using u32 = __m256i;
    struct wide {
        __m256i even, odd;
    };

    static wide block_lanes(std::uint32_t first) {
        const __m256i base = _mm256_set1_epi64x(first);
        return {_mm256_add_epi64(base, _mm256_setr_epi64x(0, 4, 1, 5)),
                _mm256_add_epi64(base, _mm256_setr_epi64x(2, 6, 3, 7))};
    }
    static wide broadcast(std::uint64_t x) {
        const __m256i lanes = _mm256_set1_epi64x(static_cast<long long>(x));
        return {lanes, lanes};
    }
    static u32 broadcast32(std::uint32_t x) { return _mm256_set1_epi32(static_cast<int>(x)); }
    static wide mul_low(wide a, std::uint32_t m) {
        const __m256i lanes = _mm256_set1_epi64x(m);
        return {_mm256_mul_epu32(a.even, lanes), _mm256_mul_epu32(a.odd, lanes)};
    }
    static wide high(wide a) { return {_mm256_srli_epi64(a.even, 32), _mm256_srli_epi64(a.odd, 32)}; }
    static wide xor2(wide a, wide b) { return {_mm256_xor_si256(a.even, b.even), _mm256_xor_si256(a.odd, b.odd)}; }
    static wide xor3(wide a, wide b, wide c) { return xor2(xor2(a, b), c); }
    static u32 xor3(u32 a, u32 b, u32 c) { return _mm256_xor_si256(_mm256_xor_si256(a, b), c); }
    static u32 pack_low(wide a) { return _mm256_blend_epi32(a.even, _mm256_slli_epi64(a.odd, 32), 0xAA); }
    static u32 pack_high(wide a) { return _mm256_blend_epi32(_mm256_srli_epi64(a.even, 32), a.odd, 0xAA); }

    static f32 set(float x) { return _mm256_set1_ps(x); }
    static f32 from_signed(u32 a) { return _mm256_cvtepi32_ps(a); }
    static f32 add(f32 a, f32 b) { return _mm256_add_ps(a, b); }
    static f32 mul(f32 a, f32 b) { return _mm256_mul_ps(a, b); }
    static f32 div(f32 a, f32 b) { return _mm256_div_ps(a, b); }
    static f32 fma(f32 a, f32 b, f32 c) { return _mm256_fmadd_ps(a, b, c); }
    static f32 sqrt(f32 a) { return _mm256_sqrt_ps(a); }
    static f32 neg(f32 a) { return _mm256_xor_ps(a, _mm256_set1_ps(-0.0f)); }
    static u32 words_of(f32 a) { return _mm256_castps_si256(a); }
    static f32 floats_of(u32 a) { return _mm256_castsi256_ps(a); }
    // a where the sign of x is set, else b.
    static f32 choose_negative(f32 x, f32 a, f32 b) { return _mm256_blendv_ps(b, a, x); }

    static void split(f32 a, f32& exponent, f32& mantissa) {
        const u32 bits = _mm256_castps_si256(a);
        const u32 biased = _mm256_srli_epi32(_mm256_slli_epi32(bits, 1), 24);
        exponent = _mm256_cvtepi32_ps(_mm256_sub_epi32(biased, _mm256_set1_epi32(127)));
        mantissa = _mm256_castsi256_ps(
            _mm256_or_si256(_mm256_and_si256(bits, _mm256_set1_epi32(0x007FFFFF)), _mm256_set1_epi32(0x3F000000)));
    }
    static f32 with_sign_of(f32 a, u32 word) {
        return _mm256_or_ps(a, _mm256_and_ps(_mm256_castsi256_ps(word), _mm256_set1_ps(-0.0f)));
    }
    static void exchange_if_odd(u32 word, f32& a, f32& b) {
        const f32 odd = _mm256_castsi256_ps(_mm256_slli_epi32(word, 31));  // the sign bit is all that a blend reads
        const f32 first = _mm256_blendv_ps(a, b, odd);
        b = _mm256_blendv_ps(b, a, odd);
        a = first;
    }
    static void transpose(f32* z) {
        const f32 a = _mm256_unpacklo_ps(z[0], z[1]), b = _mm256_unpackhi_ps(z[0], z[1]);
        const f32 c = _mm256_unpacklo_ps(z[2], z[3]), d = _mm256_unpackhi_ps(z[2], z[3]);
        z[0] = _mm256_shuffle_ps(a, c, 0x44);
        z[1] = _mm256_shuffle_ps(a, c, 0xEE);
        z[2] = _mm256_shuffle_ps(b, d, 0x44);
        z[3] = _mm256_shuffle_ps(b, d, 0xEE);
    }

    static void transpose(u32* words) {
        f32 z[4];
        for (int k = 0; k < 4; ++k) z[k] = _mm256_castsi256_ps(words[k]);
        transpose(z);
        for (int k = 0; k < 4; ++k) words[k] = _mm256_castps_si256(z[k]);
    }
    static void store_blocks(const f32* z, float* out, std::ptrdiff_t stride) {
        f32 blocks[4] = {z[0], z[1], z[2], z[3]};
        transpose(blocks);
        for (int i = 0; i < 4; ++i, out += 2 * stride) {
            _mm_storeu_ps(out, _mm256_castps256_ps128(blocks[i]));
            _mm_storeu_ps(out + stride, _mm256_extractf128_ps(blocks[i], 1));
        }
    }

    template <int N>
    static u32 shift_left(u32 a) {
        return _mm256_slli_epi32(a, N);
    }
    template <int N>
    static u32 shift_right(u32 a) {
        return _mm256_srli_epi32(a, N);
    }
    static u32 select(std::uint32_t mask, u32 a, u32 b) {
        return _mm256_xor_si256(b, _mm256_and_si256(_mm256_xor_si256(a, b), broadcast32(mask)));
    }

    struct Table {
        f32 low, high;
    };
    static Table load_table(const float* p) { return {load(p), load(p + 8)}; }
    static f32 lookup(const Table& table, u32 index) {  // the permutations read three bits, the blend the sign bit
        return _mm256_blendv_ps(_mm256_permutevar8x32_ps(table.low, index), _mm256_permutevar8x32_ps(table.high, index),
                                _mm256_castsi256_ps(_mm256_slli_epi32(index, 28)));
    }

    static f32 signs(const std::uint32_t* words, int i) {
        const u32 bits = _mm256_set1_epi32(reinterpret_cast<const std::uint8_t*>(words)[i]);
        const u32 signs = _mm256_sllv_epi32(bits, _mm256_setr_epi32(31, 30, 29, 28, 27, 26, 25, 24));
        return with_sign_of(set(1.0f), signs);
    }
    // 8 lookups of 16 levels. In the table of segment s is what changes from segment s - 1 by exclusive or, and a byte
    // below the segment has its top bit set by then, for which the shuffle gives 0.
    static u32 levels(u32 words) {
        u32 index = _mm256_and_si256(words, _mm256_set1_epi8(127));
        u32 result = _mm256_setzero_si256();
        for (int segment = 0; segment < 8; ++segment) {
            const auto* changes = reinterpret_cast<const __m128i*>(normal8_changes.bytes[segment]);
            const u32 table = _mm256_broadcastsi128_si256(_mm_load_si128(changes));
            result = _mm256_xor_si256(result, _mm256_shuffle_epi8(table, index));
            index = _mm256_sub_epi8(index, _mm256_set1_epi8(16));
        }
        return _mm256_sign_epi8(result, _mm256_or_si256(words, _mm256_set1_epi8(1)));
    }
    static void level_floats(u32 words, f32* z) {
        const u32 bytes = levels(words);
        z[0] = _mm256_cvtepi32_ps(_mm256_srai_epi32(_mm256_slli_epi32(bytes, 24), 24));
        z[1] = _mm256_cvtepi32_ps(_mm256_srai_epi32(_mm256_slli_epi32(bytes, 16), 24));
        z[2] = _mm256_cvtepi32_ps(_mm256_srai_epi32(_mm256_slli_epi32(bytes, 8), 24));
        z[3] = _mm256_cvtepi32_ps(_mm256_srai_epi32(bytes, 24));
    }
    static void order_levels(f32*) {}
    static f32 widen(const std::int8_t* p) {
        return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p))));
    }

    static f32 load(const float* p) { return _mm256_loadu_ps(p); }
    static f32 load(const float16* p) { return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))); }
    static f32 load(const bfloat16* p) {
        const u32 halves = _mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
        return _mm256_castsi256_ps(_mm256_slli_epi32(halves, 16));
    }
    static f32 load_quad(const float* p, int) { return _mm256_broadcast_ps(reinterpret_cast<const __m128*>(p)); }
    static u32 load_words(const std::uint32_t* p) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)); }
    static void store_words(std::uint32_t* p, u32 a) { _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), a); }
    static void store(float* p, f32 a) { _mm256_storeu_ps(p, a); }
    static void stream(float* p, f32 a) {
        reinterpret_cast<std::uintptr_t>(p) % 32 == 0 ? _mm256_stream_ps(p, a) : _mm256_storeu_ps(p, a);
    }
    static void fence() { _mm_sfence(); }
    static void store(float16* p, f32 a) {
        _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm256_cvtps_ph(a, _MM_FROUND_TO_NEAREST_INT));
    }
    static void store(bfloat16* p, f32 a) {
        const u32 bits = _mm256_castps_si256(a);
        const u32 lowest = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
        const u32 rounded = _mm256_add_epi32(bits, _mm256_add_epi32(lowest, _mm256_set1_epi32(0x7FFF)));
        const u32 quiet = _mm256_or_si256(bits, _mm256_set1_epi32(0x00400000));
        const u32 nan = _mm256_castps_si256(_mm256_cmp_ps(a, a, _CMP_UNORD_Q));
        const u32 high = _mm256_srli_epi32(_mm256_blendv_epi8(rounded, quiet, nan), 16);
        const u32 packed = _mm256_permute4x64_epi64(_mm256_packus_epi32(high, high), 0x08);
        _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm256_castsi256_si128(packed));
    }
};

}  // namespace FASTES_ISA
}  // namespace fastes
