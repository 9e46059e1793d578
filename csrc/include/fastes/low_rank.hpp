// Perturbations of low rank: noise specification 1, section "Low rank".
#pragma once

#include <cstddef>
#include <cstdint>

#include "fastes/kernel_table.hpp"

namespace fastes {
inline namespace FASTES_ISA {

// scale sum_a A[i, a] B[j, a] for one i and V::width of j, added to theta.
template <class V, class T>
inline void perturb_low_rank(const LowRankMember& member, std::size_t i, std::size_t j) {
    auto e = V::set(0.0f);
    for (std::size_t a = 0; a < member.rank; ++a) {
        const float* component = member.factors + a * (member.m + member.n);
        e = V::fma(V::set(component[i]), V::load(component + member.m + j), e);
    }
    const std::size_t at = i * member.n + j;
    V::store(static_cast<T*>(member.out) + at, V::fma(V::set(member.scale), e, V::load(member.theta + at)));
}

template <class V>
inline constexpr std::size_t tile_columns = V::tile_vectors * V::width;

// Rows of a tile: with their accumulators, a vector of each column and a weight, what 32 registers (16 on AVX2) hold.
inline constexpr std::size_t tile_rows = 6;

// Adds to one tile, rows i .. i + 5 and columns j .. j + tile_columns - 1, the parts beyond the matrix left out.
template <class V>
inline void add_low_rank_tile(const LowRankBlock& block, std::size_t i, std::size_t j) {
    static_assert(low_rank_rows % tile_rows == 0 && low_rank_columns % tile_columns<V> == 0);
    using f32 = typename V::f32;
    for (std::size_t begin = 0; begin < block.depth; begin += block.chunk) {
        const std::size_t end = block.depth - begin < block.chunk ? block.depth : begin + block.chunk;
        f32 sum[tile_rows][V::tile_vectors];
        for (auto& row : sum) {
            for (f32& s : row) s = V::set(0.0f);
        }
        for (std::size_t d = begin; d < end; ++d) {
            const float *a = block.a + d * low_rank_rows + i, *b = block.b + d * low_rank_columns + j;
            f32 column[V::tile_vectors];
            for (int v = 0; v < V::tile_vectors; ++v) column[v] = V::load(b + v * V::width);
            for (std::size_t r = 0; r < tile_rows; ++r) {
                const f32 factor = V::set(a[r]);
                for (int v = 0; v < V::tile_vectors; ++v) sum[r][v] = V::fma(factor, column[v], sum[r][v]);
            }
        }
        const bool whole = j + tile_columns<V> <= block.columns;
        for (std::size_t r = 0; r < tile_rows && i + r < block.rows; ++r) {
            float* out = block.out + (i + r) * block.out_stride + j;
            if (whole) {
                for (int v = 0; v < V::tile_vectors; ++v) {
                    V::store(out + v * V::width, V::add(V::load(out + v * V::width), sum[r][v]));
                }
                continue;
            }
            float row[tile_columns<V>];
            for (int v = 0; v < V::tile_vectors; ++v) V::store(row + v * V::width, sum[r][v]);
            for (std::size_t c = 0; c < tile_columns<V> && j + c < block.columns; ++c) out[c] = out[c] + row[c];
        }
    }
}

}  // namespace FASTES_ISA
}  // namespace fastes
