// Sixteen lanes again: AVX-512 with VBMI, whose byte permutations find 128 levels in one lookup.
#pragma once

#include "simd/avx512.hpp"

namespace fastes {
inline namespace FASTES_ISA {

struct Avx512VbmiLanes : Avx512Lanes {
    static constexpr const char* name = "avx512vbmi";

    static u32 levels(u32 words) {  // the permutation reads the lower seven bits
        const auto* table = reinterpret_cast<const __m512i*>(normal8_levels);
        const u32 magnitudes = _mm512_permutex2var_epi8(_mm512_load_si512(table), words, _mm512_load_si512(table + 1));
        return negated_where_negative(magnitudes, words);
    }
};

}  // namespace FASTES_ISA
}  // namespace fastes
