// What a policy's outputs mean, as NumPy would have it.
#pragma once

#include <cstddef>
#include <cstdint>

#include "fastes/target.hpp"

namespace fastes {
inline namespace FASTES_ISA {

// argmax: the first of the largest, or the first NaN.
FASTES_INLINE std::int64_t argmax(const float* outputs, std::size_t count) {
    std::int64_t at = 0;
    float most = outputs[0];
    for (std::size_t k = 1; k < count; ++k) {  // without branches: nobody could predict them
        const bool more = !(outputs[k] <= most) & (most == most);
        at = more ? static_cast<std::int64_t>(k) : at;
        most = more ? outputs[k] : most;
    }
    return at;
}

// clip: a NaN stays one.
template <class T>
FASTES_INLINE T clip(T x, T low, T high) {
    const T raised = x < low ? low : x;
    return high < raised ? high : raised;
}

}  // namespace FASTES_ISA
}  // namespace fastes
