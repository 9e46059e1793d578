// The 256 levels of normal8: noise specification 1, section "Normal8".
#pragma once

#include <cstdint>

#include "fastes/target.hpp"

namespace fastes {
inline namespace FASTES_ISA {

// 32 times the root mean square of each of the upper 128 of 256 equally likely parts of the standard normal, as those
// integers nearest to them (sum of squares) whose mean square is 32^2, so that the noise has variance 1 exactly.
// tools/derive_levels.py finds them.
alignas(128) FASTES_LOOKUP std::int8_t normal8_levels[128] = {
    0,  0,  1,  1,  1,  2,  2,  2,  3,  3,  3,  4,  4,  4,  5,  5,  5,  5,  6,  6,  6,  7,  7,  7,  8,  8,
    8,  9,  9,  9,  10, 10, 10, 11, 11, 11, 12, 12, 12, 13, 13, 13, 14, 14, 14, 15, 15, 15, 16, 16, 16, 17,
    17, 18, 18, 18, 19, 19, 19, 20, 20, 21, 21, 21, 22, 22, 23, 23, 23, 24, 24, 25, 25, 25, 26, 26, 27, 27,
    28, 28, 29, 29, 29, 30, 31, 31, 32, 32, 33, 33, 34, 34, 35, 35, 36, 36, 37, 38, 38, 39, 40, 40, 41, 42,
    43, 43, 44, 45, 46, 47, 48, 49, 50, 51, 52, 53, 54, 56, 57, 59, 60, 62, 65, 67, 71, 75, 81, 95,
};

}  // namespace FASTES_ISA
}  // namespace fastes
