// The weighted sum of noise rows, and the loop over elements that all kernels share.
//
//     g_j = sum_k w_k eps[row_k, j]: noise specification 1, section "Reduction order"
//
// Rows go in chunks of 64: within a chunk one chain of fused multiply-adds from +0, chunk totals added in order from
// +0. A lane holds one element, so vector width, threads and tiles cannot change the order.
#pragma once

#include <cstddef>
#include <cstdint>

#include "fastes/normal.hpp"
#include "fastes/philox.hpp"

namespace fastes {
inline namespace FASTES_ISA {

inline constexpr std::size_t chunk_rows = 64;

template <class V>
inline constexpr int group_elements = 4 * V::width;

// Calls body.template operator()<G>(first block, position) for groups of V::width blocks that cover the span, two at a
// time while two are wanted. `position` is the group's first element relative to the span's: negative in the first
// group when the span starts inside a block.
template <class V, class Body>
inline void for_groups(const Span& span, const Body& body) {
    auto block = static_cast<std::uint32_t>(span.first / 4);
    const auto count = static_cast<std::int64_t>(span.count);
    std::int64_t position = -static_cast<std::int64_t>(span.first % 4);
    while (position < count) {
        if (V::interleave == 2 && count - position > group_elements<V>) {
            body.template operator()<2>(block, position);
            block += 2 * V::width;
            position += 2 * group_elements<V>;
        } else {
            body.template operator()<1>(block, position);
            block += V::width;
            position += group_elements<V>;
        }
    }
}

// Number of the group at this position in its span.
template <class V>
inline std::int64_t group_index(std::int64_t position) {
    return (position + 3) / group_elements<V>;  // the first group's position is from -3 to 0
}

template <class V, int G>
inline void make_block_keys(std::uint32_t block, std::uint32_t generation, const RoundKeys& keys, BlockKeys<V>* out) {
    for (int g = 0; g < G; ++g)
        out[g] = BlockKeys<V>(block + static_cast<std::uint32_t>(g * V::width), generation, keys);
}

// Hands the transposed elements of a group to sink(position, V::f32 of V::width elements) in order, and those of a
// group that lies only partly inside the span one by one as ScalarLanes.
template <class V, class Sink>
inline void emit(const typename V::f32* z, std::int64_t position, const Span& span, const Sink& sink) {
    const auto count = static_cast<std::int64_t>(span.count);
    if (position >= 0 && position + group_elements<V> <= count) {
        for (int i = 0; i < 4; ++i) sink.template operator()<V>(position + i * V::width, z[i]);
        return;
    }
    float buffer[group_elements<V>];
    for (int i = 0; i < 4; ++i) V::store(buffer + i * V::width, z[i]);
    const std::int64_t begin = position < 0 ? -position : 0;
    const std::int64_t end = count - position < group_elements<V> ? count - position : group_elements<V>;
    for (std::int64_t i = begin; i < end; ++i) {
        sink.template operator()<ScalarLanes>(position + i, buffer[i]);
    }
}

// total[g][k] = sum over the rows of element k of each block of group g.
template <class V, int G>
inline void sum_rows(const BlockKeys<V>* blocks, const WeightedRows& rows, const RoundKeys& keys,
                     typename V::f32 (*total)[4]) {
    using f32 = typename V::f32;
    for (int g = 0; g < G; ++g) {
        for (int k = 0; k < 4; ++k) total[g][k] = V::set(0.0f);
    }
    for (std::size_t chunk = 0; chunk < rows.count; chunk += chunk_rows) {
        const std::size_t end = rows.count - chunk < chunk_rows ? rows.count : chunk + chunk_rows;
        f32 sum[G][4];
        for (int g = 0; g < G; ++g) {
            for (int k = 0; k < 4; ++k) sum[g][k] = V::set(0.0f);
        }
        for (std::size_t row = chunk; row < end; ++row) {
            typename V::u32 words[G][4];
            philox_words<V, G>(blocks, rows.keys[row], keys, words);
            const f32 weight = V::set(rows.weights[row]);
            for (int g = 0; g < G; ++g) {
                f32 z[4];
                normals<V>(words[g], z);
                for (int k = 0; k < 4; ++k) sum[g][k] = V::fma(weight, z[k], sum[g][k]);
            }
        }
        for (int g = 0; g < G; ++g) {
            for (int k = 0; k < 4; ++k) total[g][k] = V::add(total[g][k], sum[g][k]);
        }
    }
}

// sink(position, g) for every element of the span, g the weighted sum there.
template <class V, class Sink>
inline void weighted_sum(const Address& address, const WeightedRows& rows, const Span& span, const Sink& sink) {
    const RoundKeys keys(address.seed);
    for_groups<V>(span, [&]<int G>(std::uint32_t block, std::int64_t position) {
        BlockKeys<V> blocks[G];
        make_block_keys<V, G>(block, address.generation, keys, blocks);
        typename V::f32 total[G][4];
        sum_rows<V, G>(blocks, rows, keys, total);
        for (int g = 0; g < G; ++g) {
            V::transpose(total[g]);
            emit<V>(total[g], position + g * group_elements<V>, span, sink);
        }
    });
}

}  // namespace FASTES_ISA
}  // namespace fastes
