// The levels of normal8 as the instructions that look them up want them.
#pragma once

#include <bit>
#include <cstdint>

#include "fastes/levels.hpp"

namespace fastes {
inline namespace FASTES_ISA {

// For instructions that find a byte among 16: what changes, by exclusive or, from the segment of 16 before.
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
