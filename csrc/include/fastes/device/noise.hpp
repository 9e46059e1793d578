// Noise as kernels for a GPU take it: addresses by value, rows in the GPU's memory, four elements at a time.
#pragma once

#include <cstdint>

#include "fastes/address.hpp"
#include "fastes/normal.hpp"
#include "fastes/normal8.hpp"
#include "fastes/philox.hpp"
#include "fastes/rademacher.hpp"
#include "fastes/target.hpp"
#include "simd/scalar.hpp"

namespace fastes {
inline namespace FASTES_ISA {

struct NoiseAddress {
    RoundKeys keys;
    std::uint32_t stream, generation;

    explicit NoiseAddress(const Address& address)
        : keys(address.seed), stream(address.stream), generation(address.generation) {}
};

// Row numbers in memory, `step` words apart: 1 for uint32, 2 for int64, whose lower words come first. Without any, all
// rows are `single`.
struct RowNumbers {
    const std::uint32_t* numbers;
    std::uint32_t step, single;

    FASTES_CALLABLE std::uint32_t operator[](std::uint64_t k) const {
        return numbers == nullptr ? single : numbers[k * step];
    }
};

FASTES_CALLABLE inline RowKey row_key(std::uint32_t row, const NoiseAddress& noise) {
    return row_key(row, noise.stream, noise.keys);
}

// words[0..3]: the words of a block, the number taken modulo 2^32.
FASTES_INLINE void block_words(std::uint64_t block, std::uint32_t row, const NoiseAddress& noise,
                               std::uint32_t* words) {
    const BlockKeys<ScalarLanes> keys(static_cast<std::uint32_t>(block), noise.generation, noise.keys);
    std::uint32_t made[1][4];
    philox_words<ScalarLanes, 1>(&keys, row_key(row, noise), noise.keys, made);
    for (int k = 0; k < 4; ++k) words[k] = made[0][k];
}

// One of four words without an array that is indexed at run time, which would lie in slow memory.
FASTES_CALLABLE inline std::uint32_t chosen(const std::uint32_t* words, std::uint32_t k) {
    const std::uint32_t low = (k & 1) != 0 ? words[1] : words[0];
    const std::uint32_t high = (k & 1) != 0 ? words[3] : words[2];
    return (k & 2) != 0 ? high : low;
}

// Quads: elements 4 q .. 4 q + 3 of a block from its words. Their values count for Noise::step each.
struct NormalQuad {
    using Noise = Normal<ScalarLanes>;
    FASTES_INLINE static void values(const std::uint32_t* words, std::uint32_t, float* z) {
        normals<ScalarLanes>(words, z);
    }
};

struct RademacherQuad {
    using Noise = Rademacher<ScalarLanes>;
    FASTES_INLINE static void values(const std::uint32_t* words, std::uint32_t q, float* z) {
        const std::uint32_t bits = chosen(words, q / 8) >> 4 * (q % 8);
        for (int k = 0; k < 4; ++k) z[k] = ScalarLanes::signs(&bits, k);
    }
};

struct Normal8Quad {
    using Noise = Normal8<ScalarLanes>;
    FASTES_INLINE static void values(const std::uint32_t* words, std::uint32_t q, float* z) {
        ScalarLanes::level_floats(chosen(words, q), z);
    }
};

template <class Quad>
inline constexpr std::uint32_t quads_of_block = Quad::Noise::block_elements / 4;

// Elements 4 quad .. 4 quad + 3 of a row.
template <class Quad>
FASTES_INLINE void quad_values(std::uint64_t quad, std::uint32_t row, const NoiseAddress& noise, float* z) {
    std::uint32_t words[4];
    block_words(quad / quads_of_block<Quad>, row, noise, words);
    Quad::values(words, static_cast<std::uint32_t>(quad % quads_of_block<Quad>), z);
}

// Elements [first, first + count) as quads: the first one may begin before them, the last one end after them.
struct QuadSpan {
    std::uint64_t first, count;

    FASTES_CALLABLE std::uint64_t quads() const { return (first % 4 + count + 3) / 4; }
    FASTES_CALLABLE std::uint64_t number(std::uint64_t i) const { return first / 4 + i; }
    // Where quad i begins, relative to the first element.
    FASTES_CALLABLE std::int64_t position(std::uint64_t i) const {
        return static_cast<std::int64_t>(4 * i) - static_cast<std::int64_t>(first % 4);
    }
};

}  // namespace FASTES_ISA
}  // namespace fastes
