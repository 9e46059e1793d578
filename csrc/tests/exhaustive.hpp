#pragma once

#include <cstdint>

// Largest error seen of one function, in units in the last place of the exact value.
struct LargestError {
    double ulp = 0.0;
    std::uint32_t word = 0;
};

struct TransformErrors {
    LargestError log, sin, cos, radius;
    LargestError exp;  // of the words that are floats from -80 to 80
    float smallest_radius = 1e30f, largest_radius = 0.0f;
};

// Errors over `count` words: first, first + stride, ...
TransformErrors measure_errors(std::uint64_t first, std::uint64_t count, std::uint64_t stride);
