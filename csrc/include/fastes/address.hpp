// Where noise is, and which of it is wanted: plain data that processors and GPUs share.
#pragma once

#include <cstddef>
#include <cstdint>

namespace fastes {

inline constexpr int noise_spec = 1;
// Elements of one (stream, row, generation): 2^32 blocks of 4.
inline constexpr std::uint64_t max_elements = std::uint64_t{1} << 34;

// How words become values: noise specification 1, sections "Normal", "Normal8" and "Rademacher".
enum class Kind { normal, rademacher, normal8 };

// Everything of a noise address but the row and the element, and the kind of noise that is made there.
struct Address {
    std::uint64_t seed;
    std::uint32_t stream;
    std::uint32_t generation;
    Kind kind = Kind::normal;
};

// What a row contributes to the first three rounds of Philox: philox.hpp.
struct RowKey {
    std::uint64_t c0, c2, c3;
};

// A run of elements: [first, first + count) of the noise, [at, at + count) of the arrays.
struct Span {
    std::uint64_t first;
    std::uint64_t at;
    std::uint64_t count;
};

// Rows of a chunk of a weighted sum: noise specification 1, section "Reduction order".
inline constexpr std::size_t chunk_rows = 64;

// Weights and rows of a weighted sum, K of each.
struct WeightedRows {
    const RowKey* keys;
    const float* weights;
    std::size_t count;
};

enum class OutputType { float32, float16, bfloat16 };

}  // namespace fastes
