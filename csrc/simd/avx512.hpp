// Sixteen lanes: AVX-512 F, DQ, BW, VL.
//
// `wide` is two registers of eight 64-bit lanes: the even and the odd 32-bit positions. Block 4 i + l sits at position
// 4 l + i, so that a 4 x 4 transpose inside each 128-bit quarter gives elements in order.
#pragma once

#include <immintrin.h>

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "fastes/half.hpp"
#include "fastes/level_lookups.hpp"

namespace fastes {
inline namespace FASTES_ISA {

struct Avx512Lanes {
    static constexpr int width = 16;
    static constexpr int interleave = 2;      // groups in flight
    static constexpr int sum_interleave = 2;  // the same in a weighted sum
    static constexpr int tile_vectors = 4;    // of a row in a tile of a matrix product
    static constexpr int mlp_tiles = 4;       // of 16 outputs each, that registers hold the chains of
    static constexpr const char* name = "avx512";
    using f32 = __m512;
    using u32 = __m512i;
    struct wide {
        __m512i even, odd;
    };

    static wide block_lanes(std::uint32_t first) {
        const __m512i base = _mm512_set1_epi64(first);
        return {_mm512_add_epi64(base, _mm512_setr_epi64(0, 8, 1, 9, 2, 10, 3, 11)),
                _mm512_add_epi64(base, _mm512_setr_epi64(4, 12, 5, 13, 6, 14, 7, 15))};
    }
    static wide broadcast(std::uint64_t x) {
        const __m512i lanes = _mm512_set1_epi64(static_cast<long long>(x));
        return {lanes, lanes};
    }
    static u32 broadcast32(std::uint32_t x) { return _mm512_set1_epi32(static_cast<int>(x)); }
    static wide mul_low(wide a, std::uint32_t m) {
        const __m512i lanes = _mm512_set1_epi64(m);
        return {_mm512_mul_epu32(a.even, lanes), _mm512_mul_epu32(a.odd, lanes)};
    }
    // One half by a shift and one by a shuffle: on Intel the one goes to port 0 only, the other to port 5 only.
    static wide high(wide a) {
        return {_mm512_srli_epi64(a.even, 32), _mm512_shuffle_epi32(a.odd, static_cast<_MM_PERM_ENUM>(0xF5))};
    }
    static wide xor2(wide a, wide b) { return {_mm512_xor_si512(a.even, b.even), _mm512_xor_si512(a.odd, b.odd)}; }
    static wide xor3(wide a, wide b, wide c) { return {xor3(a.even, b.even, c.even), xor3(a.odd, b.odd, c.odd)}; }
    static u32 xor3(u32 a, u32 b, u32 c) { return _mm512_ternarylogic_epi32(a, b, c, 0x96); }
    static u32 pack_low(wide a) {
        return _mm512_mask_shuffle_epi32(a.even, 0xAAAA, a.odd, static_cast<_MM_PERM_ENUM>(0xA0));
    }
    static u32 pack_high(wide a) {
        return _mm512_mask_shuffle_epi32(a.odd, 0x5555, a.even, static_cast<_MM_PERM_ENUM>(0xF5));
    }

    static f32 set(float x) { return _mm512_set1_ps(x); }
    static f32 from_signed(u32 a) { return _mm512_cvtepi32_ps(a); }
    static f32 add(f32 a, f32 b) { return _mm512_add_ps(a, b); }
    static f32 mul(f32 a, f32 b) { return _mm512_mul_ps(a, b); }
    static f32 div(f32 a, f32 b) { return _mm512_div_ps(a, b); }
    static f32 fma(f32 a, f32 b, f32 c) { return _mm512_fmadd_ps(a, b, c); }
    static f32 sqrt(f32 a) { return _mm512_sqrt_ps(a); }
    static f32 neg(f32 a) { return _mm512_xor_ps(a, _mm512_set1_ps(-0.0f)); }
    static u32 words_of(f32 a) { return _mm512_castps_si512(a); }
    static f32 floats_of(u32 a) { return _mm512_castsi512_ps(a); }
    // a where the sign of x is set, else b.
    static f32 choose_negative(f32 x, f32 a, f32 b) {
        return _mm512_mask_blend_ps(_mm512_movepi32_mask(_mm512_castps_si512(x)), b, a);
    }

    static void split(f32 a, f32& exponent, f32& mantissa) {
        exponent = _mm512_getexp_ps(a);
        mantissa = _mm512_getmant_ps(a, _MM_MANT_NORM_p5_1, _MM_MANT_SIGN_zero);
    }
    static f32 with_sign_of(f32 a, u32 word) {  // (word & top) | a
        return _mm512_castsi512_ps(_mm512_ternarylogic_epi32(word, _mm512_castps_si512(a),
                                                             _mm512_set1_epi32(static_cast<int>(0x80000000u)), 0xEC));
    }
    static void exchange_if_odd(u32 word, f32& a, f32& b) {
        const __mmask16 odd = _mm512_test_epi32_mask(word, _mm512_set1_epi32(1));
        const f32 first = _mm512_mask_mov_ps(a, odd, b);
        b = _mm512_mask_mov_ps(b, odd, a);
        a = first;
    }
    static void transpose(f32* z) {
        const f32 a = _mm512_unpacklo_ps(z[0], z[1]), b = _mm512_unpackhi_ps(z[0], z[1]);
        const f32 c = _mm512_unpacklo_ps(z[2], z[3]), d = _mm512_unpackhi_ps(z[2], z[3]);
        z[0] = _mm512_shuffle_ps(a, c, 0x44);
        z[1] = _mm512_shuffle_ps(a, c, 0xEE);
        z[2] = _mm512_shuffle_ps(b, d, 0x44);
        z[3] = _mm512_shuffle_ps(b, d, 0xEE);
    }

    static void transpose(u32* words) {
        f32 z[4];
        for (int k = 0; k < 4; ++k) z[k] = _mm512_castsi512_ps(words[k]);
        transpose(z);
        for (int k = 0; k < 4; ++k) words[k] = _mm512_castps_si512(z[k]);
    }
    static void store_blocks(const f32* z, float* out, std::ptrdiff_t stride) {
        f32 blocks[4] = {z[0], z[1], z[2], z[3]};
        transpose(blocks);
        for (int i = 0; i < 4; ++i, out += 4 * stride) {
            _mm_storeu_ps(out, _mm512_castps512_ps128(blocks[i]));
            _mm_storeu_ps(out + stride, _mm512_extractf32x4_ps(blocks[i], 1));
            _mm_storeu_ps(out + 2 * stride, _mm512_extractf32x4_ps(blocks[i], 2));
            _mm_storeu_ps(out + 3 * stride, _mm512_extractf32x4_ps(blocks[i], 3));
        }
    }

    template <int N>
    static u32 shift_left(u32 a) {
        return _mm512_slli_epi32(a, N);
    }
    template <int N>
    static u32 shift_right(u32 a) {
        return _mm512_srli_epi32(a, N);
    }
    static u32 select(std::uint32_t mask, u32 a, u32 b) {
        return _mm512_ternarylogic_epi32(broadcast32(mask), a, b, 0xCA);
    }

    using Table = f32;
    static Table load_table(const float* p) { return load(p); }
    static f32 lookup(const Table& table, u32 index) { return _mm512_permutexvar_ps(index, table); }

    static f32 signs(const std::uint32_t* words, int i) {
        __mmask16 bits;
        std::memcpy(&bits, reinterpret_cast<const unsigned char*>(words) + 2 * i, sizeof bits);
        return _mm512_mask_mov_ps(set(1.0f), bits, set(-1.0f));
    }
    // 8 lookups of 16 levels. In the table of segment s is what changes from segment s - 1 by exclusive or, and a byte
    // below the segment has its top bit set by then, for which the shuffle gives 0.
    static u32 levels(u32 words) {
        u32 index = _mm512_and_si512(words, _mm512_set1_epi8(127));
        u32 result = _mm512_setzero_si512();
        for (int segment = 0; segment < 8; ++segment) {
            const auto* changes = reinterpret_cast<const __m128i*>(normal8_changes.bytes[segment]);
            const u32 table = _mm512_broadcast_i32x4(_mm_load_si128(changes));
            result = _mm512_xor_si512(result, _mm512_shuffle_epi8(table, index));
            index = _mm512_sub_epi8(index, _mm512_set1_epi8(16));
        }
        return negated_where_negative(result, words);
    }
    static u32 negated_where_negative(u32 levels, u32 bytes) {
        return _mm512_mask_sub_epi8(levels, _mm512_movepi8_mask(bytes), _mm512_setzero_si512(), levels);
    }
    // The upper halves of the floats of 32 bytes, each in the lower byte of 16 bits; signs: its top bit there.
    static u32 level_halves(u32 bytes, u32 signs) {
        const auto* table = reinterpret_cast<const __m512i*>(normal8_floats.upper);
        const __m512i first = _mm512_load_si512(table), second = _mm512_load_si512(table + 1);
        const __m512i third = _mm512_load_si512(table + 2), fourth = _mm512_load_si512(table + 3);
        const u32 low = _mm512_permutex2var_epi16(first, bytes, second);  // the permutation reads six bits
        const u32 high = _mm512_permutex2var_epi16(third, bytes, fourth);
        const __mmask32 in_high = _mm512_test_epi16_mask(bytes, _mm512_set1_epi16(64));
        return _mm512_ternarylogic_epi32(signs, _mm512_mask_mov_epi16(low, in_high, high),
                                         _mm512_set1_epi16(static_cast<short>(0x8000)), 0xEC);
    }
    static void level_floats(u32 words, f32* z) {
        const u32 even = level_halves(words, _mm512_slli_epi16(words, 8));
        const u32 odd = level_halves(_mm512_srli_epi16(words, 8), words);
        const u32 upper = broadcast32(0xFFFF0000u);
        z[0] = _mm512_castsi512_ps(_mm512_slli_epi32(even, 16));
        z[1] = _mm512_castsi512_ps(_mm512_slli_epi32(odd, 16));
        z[2] = _mm512_castsi512_ps(_mm512_and_si512(even, upper));
        z[3] = _mm512_castsi512_ps(_mm512_and_si512(odd, upper));
    }
    static void order_levels(f32*) {}
    static f32 widen(const std::int8_t* p) {
        return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))));
    }

    static f32 load(const float* p) { return _mm512_loadu_ps(p); }
    static f32 load(const float16* p) {
        return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
    }
    static f32 load(const bfloat16* p) {
        const u32 halves = _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
        return _mm512_castsi512_ps(_mm512_slli_epi32(halves, 16));
    }
    static f32 load_quad(const float* p, int) { return _mm512_broadcast_f32x4(_mm_loadu_ps(p)); }
    static u32 load_words(const std::uint32_t* p) { return _mm512_loadu_si512(p); }
    static void store_words(std::uint32_t* p, u32 a) { _mm512_storeu_si512(p, a); }
    static void store(float* p, f32 a) { _mm512_storeu_ps(p, a); }
    static void stream(float* p, f32 a) {
        reinterpret_cast<std::uintptr_t>(p) % 64 == 0 ? _mm512_stream_ps(p, a) : _mm512_storeu_ps(p, a);
    }
    static void fence() { _mm_sfence(); }
    static void store(float16* p, f32 a) {
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm512_cvtps_ph(a, _MM_FROUND_TO_NEAREST_INT));
    }
    static void store(bfloat16* p, f32 a) {  // not vcvtneps2bf16: it flushes subnormals whatever MXCSR says
        const u32 bits = _mm512_castps_si512(a);
        const u32 lowest = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
        const u32 rounded = _mm512_add_epi32(bits, _mm512_add_epi32(lowest, _mm512_set1_epi32(0x7FFF)));
        const u32 result =
            _mm512_mask_or_epi32(rounded, _mm512_cmp_ps_mask(a, a, _CMP_UNORD_Q), bits, _mm512_set1_epi32(0x00400000));
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm512_cvtepi32_epi16(_mm512_srli_epi32(result, 16)));
    }
};

}  // namespace FASTES_ISA
}  // namespace fastes
