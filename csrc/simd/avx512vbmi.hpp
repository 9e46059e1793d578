// Sixteen lanes again: AVX-512 with VBMI, whose byte permutations find 128 levels in one lookup.
#pragma once

#include "simd/avx512.hpp"

namespace fastes {
inline namespace FASTES_ISA {

struct Avx512VbmiLanes : Avx512Lanes {
    static constexpr const char* name = "avx512vbmi";

    static u32 lookup_bytes(const void* table, u32 words) {  // the permutation reads the lower seven bits
        const auto* halves = static_cast<const __m512i*>(table);
        return _mm512_permutex2var_epi8(_mm512_load_si512(halves), words, _mm512_load_si512(halves + 1));
    }
    static u32 levels(u32 words) { return negated_where_negative(lookup_bytes(normal8_levels, words), words); }

    // A level has no more than eight significant bits, so the upper half of a float holds it: two lookups find its two
    // bytes. In each quarter z[0] has bytes 0 and 2 of the first two lanes, z[1] bytes 1 and 3, and z[2] and z[3] the
    // same of the other two lanes.
    static void level_floats(u32 words, f32* z) {
        const u32 low = lookup_bytes(normal8_floats.low, words);
        const u32 sign = _mm512_set1_epi8(-128);
        const u32 high = _mm512_ternarylogic_epi32(words, lookup_bytes(normal8_floats.high, words), sign, 0xEC);
        const u32 first = _mm512_unpacklo_epi8(low, high), second = _mm512_unpackhi_epi8(low, high);
        const u32 upper = broadcast32(0xFFFF0000u);
        z[0] = _mm512_castsi512_ps(_mm512_slli_epi32(first, 16));
        z[1] = _mm512_castsi512_ps(_mm512_and_si512(first, upper));
        z[2] = _mm512_castsi512_ps(_mm512_slli_epi32(second, 16));
        z[3] = _mm512_castsi512_ps(_mm512_and_si512(second, upper));
    }
    static void order_levels(f32* z) {
        const f32 even = z[0], odd = z[1];
        z[0] = _mm512_shuffle_ps(even, z[2], 0x88);
        z[1] = _mm512_shuffle_ps(odd, z[3], 0x88);
        z[2] = _mm512_shuffle_ps(even, z[2], 0xDD);
        z[3] = _mm512_shuffle_ps(odd, z[3], 0xDD);
    }
};

}  // namespace FASTES_ISA
}  // namespace fastes
