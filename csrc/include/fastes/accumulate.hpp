// The weighted sum of noise rows.
//
//     g_j = sum_k w_k eps[row_k, j]: noise specification 1, section "Reduction order"
//
// Rows go in chunks of 64, whose totals are added in order from +0. A lane holds one element, so vector width, threads
// and tiles cannot change the order. How a chunk is summed belongs to the kind of noise: K::add_chunk; and so does how
//
//     h_j = sum_k b_k (eps[row_k, j]^2 - 1)
//
// is summed beside it, of the same noise: K::add_chunk_and_squares.
#pragma once

#include <cstddef>
#include <cstdint>

#include "fastes/groups.hpp"

namespace fastes {
inline namespace FASTES_ISA {

// sink(position, g) for every element of the span, g the weighted sum there.
template <class V, class K, class Sink>
inline void weighted_sum(const Address& address, const WeightedRows& rows, const Span& span, const Sink& sink) {
    const RoundKeys keys(address.seed);
    for_groups<V, K, K::sum_interleave>(span, [&]<int G>(std::uint32_t block, std::int64_t position) {
        BlockKeys<V> blocks[G];
        make_block_keys<V, G>(block, address.generation, keys, blocks);
        typename K::template Totals<G> totals;
        for (std::size_t chunk = 0; chunk < rows.count; chunk += chunk_rows) {
            const std::size_t rest = rows.count - chunk;
            const WeightedRows part{rows.keys + chunk, rows.weights + chunk, rest < chunk_rows ? rest : chunk_rows};
            K::template add_chunk<G>(blocks, part, keys, totals);
        }
        for (int g = 0; g < G; ++g) {
            emit<V, K>(totals.group(g), position + g * group_elements<V, K>, span, sink);
        }
    });
}

// sink(position, g) and, after it, square_sink(position, h) for every element of the span.
template <class V, class K, class Sink, class SquareSink>
inline void weighted_sums(const Address& address, const WeightedRows& rows, const float* square_weights,
                          const Span& span, const Sink& sink, const SquareSink& square_sink) {
    const RoundKeys keys(address.seed);
    for_groups<V, K, 1>(span, [&]<int G>(std::uint32_t block, std::int64_t position) {
        BlockKeys<V> blocks[G];
        make_block_keys<V, G>(block, address.generation, keys, blocks);
        typename K::template Totals<G> totals;
        typename K::template SquareTotals<G> squares;
        for (std::size_t chunk = 0; chunk < rows.count; chunk += chunk_rows) {
            const std::size_t rest = rows.count - chunk;
            const WeightedRows part{rows.keys + chunk, rows.weights + chunk, rest < chunk_rows ? rest : chunk_rows};
            K::template add_chunk_and_squares<G>(blocks, part, square_weights + chunk, keys, totals, squares);
        }
        for (int g = 0; g < G; ++g) {
            emit<V, K>(totals.group(g), position + g * group_elements<V, K>, span, sink);
            emit<V, K>(squares.group(g), position + g * group_elements<V, K>, span, square_sink);
        }
    });
}

}  // namespace FASTES_ISA
}  // namespace fastes
