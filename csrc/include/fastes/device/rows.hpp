// Rows as the threads of a block share them.
#pragma once

#include <cstdint>

#include "fastes/device/noise.hpp"

namespace fastes {
inline namespace FASTES_ISA {

// Rows with a number each: the weights of a sum, the scales of members.
struct WeightedNumbers {
    RowNumbers rows;
    const float* weights;
    std::uint64_t count;
};

// The rows of one chunk.
struct Chunk {
    std::uint64_t begin;
    std::uint32_t count;

    FASTES_CALLABLE Chunk(const WeightedNumbers& rows, std::uint64_t number)
        : begin(number * chunk_rows),
          count(static_cast<std::uint32_t>(rows.count - begin < chunk_rows ? rows.count - begin : chunk_rows)) {}
};

// A row as the threads of a block share it.
struct alignas(16) SharedRow {
    std::uint32_t c0, c2, c3;
    float weight;

    FASTES_CALLABLE RowKey key() const { return {c0, c2, c3}; }
    FASTES_CALLABLE static SharedRow of(const WeightedNumbers& rows, std::uint64_t k, const NoiseAddress& noise,
                                        float step) {
        const RowKey key = row_key(rows.rows[k], noise);
        return {static_cast<std::uint32_t>(key.c0), static_cast<std::uint32_t>(key.c2),
                static_cast<std::uint32_t>(key.c3), rounded_product(rows.weights[k], step)};
    }
};

}  // namespace FASTES_ISA
}  // namespace fastes
