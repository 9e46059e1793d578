// The 16-bit types of inputs and outputs, and their rounding (nearest, ties to even) in integer arithmetic.
#pragma once

#include <cstdint>

#include "fastes/target.hpp"

namespace fastes {
inline namespace FASTES_ISA {

struct float16 {
    std::uint16_t bits;
};
struct bfloat16 {
    std::uint16_t bits;
};

// x: the bits of a float32. A NaN keeps its sign and upper payload and is made quiet, as the instructions do.
FASTES_CALLABLE inline std::uint16_t bfloat16_bits(std::uint32_t x) {
    if ((x & 0x7FFFFFFFu) > 0x7F800000u) return static_cast<std::uint16_t>((x >> 16) | 0x0040u);
    return static_cast<std::uint16_t>((x + 0x7FFFu + ((x >> 16) & 1u)) >> 16);
}

FASTES_CALLABLE inline std::uint16_t float16_bits(std::uint32_t x) {
    const std::uint32_t sign = (x >> 16) & 0x8000u;
    const std::uint32_t magnitude = x & 0x7FFFFFFFu;
    std::uint32_t half;
    if (magnitude > 0x7F800000u) {
        half = 0x7E00u | ((magnitude >> 13) & 0x03FFu);
    } else if (magnitude >= 0x47800000u) {  // 65536 and above
        half = 0x7C00u;
    } else if (magnitude >= 0x38800000u) {  // normal in float16: from 2^-14; rounding may carry into the exponent
        half = (magnitude + 0x0FFFu + ((magnitude >> 13) & 1u) - 0x38000000u) >> 13;
    } else if (magnitude >= 0x33000000u) {  // subnormal in float16: from 2^-25
        const std::uint32_t shift = 126u - (magnitude >> 23);
        const std::uint32_t mantissa = (magnitude & 0x007FFFFFu) | 0x00800000u;
        const std::uint32_t rest = mantissa & ((1u << shift) - 1u);
        const std::uint32_t middle = 1u << (shift - 1u);
        half = mantissa >> shift;
        half += (rest > middle || (rest == middle && (half & 1u) != 0)) ? 1u : 0u;
    } else {
        half = 0;
    }
    return static_cast<std::uint16_t>(sign | half);
}

// The bits of the float32 that is the same number.
FASTES_CALLABLE inline std::uint32_t widened_bfloat16(std::uint16_t x) {
    return std::uint32_t{x} << 16;
}

FASTES_CALLABLE inline std::uint32_t widened_float16(std::uint16_t x) {
    const std::uint32_t sign = (x & 0x8000u) << 16, exponent = x >> 10 & 31u;
    std::uint32_t mantissa = x & 0x03FFu;
    if (exponent == 31) return sign | 0x7F800000u | (mantissa != 0 ? 0x00400000u : 0) | mantissa << 13;
    if (exponent != 0) return sign | (exponent + 112) << 23 | mantissa << 13;
    if (mantissa == 0) return sign;
    std::uint32_t wide = 113;  // the exponent of 2^-14
    for (; (mantissa & 0x0400u) == 0; mantissa <<= 1) --wide;
    return sign | wide << 23 | (mantissa & 0x03FFu) << 13;
}

}  // namespace FASTES_ISA
}  // namespace fastes
