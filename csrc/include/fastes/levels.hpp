// The 256 levels of normal8: noise specification 1, section "Normal8".
#pragma once

#include <bit>
#include <cstdint>

namespace fastes {
inline namespace FASTES_ISA {

// 32 times the root mean square of each of the upper 128 of 256 equally likely parts of the standard normal, as those
// integers nearest to them (sum of squares) whose mean square is 32^2, so that the noise has variance 1 exactly.
// tools/derive_levels.py finds them.
alignas(64) inline constexpr std::int8_t normal8_levels[128] = {
    0,  0,  1,  1,  1,  2,  2,  2,  3,  3,  3,  4,  4,  4,  5,  5,  5,  5,  6,  6,  6,  7,  7,  7,  8,  8,
    8,  9,  9,  9,  10, 10, 10, 11, 11, 11, 12, 12, 12, 13, 13, 13, 14, 14, 14, 15, 15, 15, 16, 16, 16, 17,
    17, 18, 18, 18, 19, 19, 19, 20, 20, 21, 21, 21, 22, 22, 23, 23, 23, 24, 24, 25, 25, 25, 26, 26, 27, 27,
    28, 28, 29, 29, 29, 30, 31, 31, 32, 32, 33, 33, 34, 34, 35, 35, 36, 36, 37, 38, 38, 39, 40, 40, 41, 42,
    43, 43, 44, 45, 46, 47, 48, 49, 50, 51, 52, 53, 54, 56, 57, 59, 60, 62, 65, 67, 71, 75, 81, 95,
};

// The same for instructions that find a byte among 16: what changes, by exclusive or, from the segment of 16 before.
struct LevelChanges {
    alignas(16) std::uint8_t bytes[8][16];

    constexpr LevelChanges() : bytes() {
        for (int i = 0; i < 128; ++i) {
            const int before = i < 16 ? 0 : normal8_levels[i - 16];
            bytes[i / 16][i % 16] = static_cast<std::uint8_t>(normal8_levels[i] ^ before);
        }
    }
};
inline constexpr LevelChanges normal8_changes;

// And for instructions that find 16 bits among 64, or a byte among 128: the upper half of each level as a float, the
// lower half being 0, and its two bytes.
struct LevelFloats {
    alignas(64) std::uint16_t upper[128];
    alignas(64) std::uint8_t low[128];
    alignas(64) std::uint8_t high[128];

    constexpr LevelFloats() : upper(), low(), high() {
        for (int i = 0; i < 128; ++i) {
            const auto bits = std::bit_cast<std::uint32_t>(static_cast<float>(normal8_levels[i]));
            upper[i] = static_cast<std::uint16_t>(bits >> 16);
            low[i] = static_cast<std::uint8_t>(bits >> 16);
            high[i] = static_cast<std::uint8_t>(bits >> 24);
        }
    }
};
inline constexpr LevelFloats normal8_floats;

}  // namespace FASTES_ISA
}  // namespace fastes
