// Normals of 256 levels, one byte an element: noise specification 1, section "Normal8".
#pragma once

#include <cstddef>
#include <cstdint>

#include "fastes/philox.hpp"

namespace fastes {
inline namespace FASTES_ISA {

// The kind of noise: what groups.hpp and accumulate.hpp ask of one.
template <class V>
struct Normal8 {
    using f32 = typename V::f32;
    using u32 = typename V::u32;
    static constexpr int block_elements = 16;
    static constexpr int interleave = 1;
    static constexpr int sum_interleave = 1;
    static constexpr float step = 0x1p-5f;  // what the vectors' values count for
    static constexpr int elements = block_elements * V::width;

    // The levels of a group, in element order.
    struct Group {
        std::uint32_t levels[4 * V::width];

        explicit Group(u32* words) {
            V::transpose(words);
            for (int k = 0; k < 4; ++k) {
                V::store_words(levels + k * V::width, V::levels(words[k]));
            }
        }
        f32 vector(int i) const { return V::widen(reinterpret_cast<const std::int8_t*>(levels) + i * V::width); }
    };

    // Sums over rows of the blocks' elements 4 k + p in sum[k][p], p in the order of V::level_floats.
    template <int G>
    struct Totals {
        f32 sum[4][4];

        struct Ordered {
            float values[elements];
            f32 vector(int i) const { return V::load(values + i * V::width); }
        };

        Totals() {
            for (auto& word : sum) {
                for (f32& s : word) s = V::set(0.0f);
            }
        }
        Ordered group(int) const {
            Ordered ordered;
            for (int k = 0; k < 4; ++k) {
                f32 z[4] = {sum[k][0], sum[k][1], sum[k][2], sum[k][3]};
                V::order_levels(z);
                V::store_blocks(z, ordered.values + 4 * k, block_elements);
            }
            return ordered;
        }
    };

    template <int G>
    using SquareTotals = Totals<G>;

    // One chain of fused multiply-adds from +0, of weights that the step is multiplied into. First the words of all
    // rows, then the chains, those of two words at a time.
    template <int G>
    [[gnu::noinline]] static void add_chunk(const BlockKeys<V>* blocks, const WeightedRows& rows, const RoundKeys& keys,
                                            Totals<G>& totals) {
        static_assert(G == 1);
        u32 words[chunk_rows][4];
        float weights[chunk_rows];
        make_words(*blocks, rows, keys, words);
        for (std::size_t row = 0; row < rows.count; ++row) weights[row] = rows.weights[row] * step;
        for (int k = 0; k < 4; k += 2) {
            f32 sum[2][4];
            for (int p = 0; p < 4; ++p) sum[0][p] = sum[1][p] = V::set(0.0f);
            for (std::size_t row = 0; row < rows.count; ++row) {
                const f32 weight = V::set(weights[row]);
                f32 z[2][4];
                V::level_floats(words[row][k], z[0]);
                V::level_floats(words[row][k + 1], z[1]);
                for (int p = 0; p < 4; ++p) {
                    sum[0][p] = V::fma(weight, z[0][p], sum[0][p]);
                    sum[1][p] = V::fma(weight, z[1][p], sum[1][p]);
                }
            }
            for (int p = 0; p < 4; ++p) {
                totals.sum[k][p] = V::add(totals.sum[k][p], sum[0][p]);
                totals.sum[k + 1][p] = V::add(totals.sum[k + 1][p], sum[1][p]);
            }
        }
    }

    // A word at a time: two chains for each of its bytes. The squares of levels are exact.
    template <int G>
    [[gnu::noinline]] static void add_chunk_and_squares(const BlockKeys<V>* blocks, const WeightedRows& rows,
                                                        const float* square_weights, const RoundKeys& keys,
                                                        Totals<G>& totals, SquareTotals<G>& squares) {
        static_assert(G == 1);
        u32 words[chunk_rows][4];
        float weights[chunk_rows];
        make_words(*blocks, rows, keys, words);
        for (std::size_t row = 0; row < rows.count; ++row) weights[row] = rows.weights[row] * step;
        for (int k = 0; k < 4; ++k) {
            f32 sum[4], square_sum[4];
            for (int p = 0; p < 4; ++p) sum[p] = square_sum[p] = V::set(0.0f);
            for (std::size_t row = 0; row < rows.count; ++row) {
                const f32 weight = V::set(weights[row]), square_weight = V::set(square_weights[row]);
                f32 z[4];
                V::level_floats(words[row][k], z);
                for (int p = 0; p < 4; ++p) {
                    sum[p] = V::fma(weight, z[p], sum[p]);
                    const f32 square = V::fma(V::mul(z[p], V::set(step * step)), z[p], V::set(-1.0f));
                    square_sum[p] = V::fma(square_weight, square, square_sum[p]);
                }
            }
            for (int p = 0; p < 4; ++p) {
                totals.sum[k][p] = V::add(totals.sum[k][p], sum[p]);
                squares.sum[k][p] = V::add(squares.sum[k][p], square_sum[p]);
            }
        }
    }

private:
    [[gnu::always_inline]] static void make_words(const BlockKeys<V>& block, const WeightedRows& rows,
                                                  const RoundKeys& keys, u32 (*words)[4]) {
        std::size_t made = 0;
        for (; made + 2 <= rows.count; made += 2) philox_rows<V, 2>(block, rows.keys + made, keys, words + made);
        if (made < rows.count) philox_rows<V, 1>(block, rows.keys + made, keys, words + made);
    }
};

}  // namespace FASTES_ISA
}  // namespace fastes
