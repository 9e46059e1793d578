// Noise of one bit an element: +1 for a bit of 0, -1 for a bit of 1. Noise specification 1, section "Rademacher".
#pragma once

#include <cstddef>
#include <cstdint>

#include "fastes/philox.hpp"

namespace fastes {
inline namespace FASTES_ISA {

// The kind of noise: what groups.hpp and accumulate.hpp ask of one.
//
// A chunk is summed four rows at a time: the four bits of an element choose one of the 16 sums of four signed weights,
// which is one table lookup and one addition for four rows. So the words of four rows are transposed as bits: nibble j
// of word 4 k + p holds the four rows' bits of element 32 k + 4 j + p.
template <class V>
struct Rademacher {
    using f32 = typename V::f32;
    using u32 = typename V::u32;
    static constexpr int block_elements = 128;
    static constexpr int interleave = 1;
    static constexpr int sum_interleave = 1;
    static constexpr float step = 1.0f;  // what the vectors' values count for
    static constexpr int quad = 4;       // rows of one lookup
    static constexpr int quads = 16;     // of a chunk

    // The bits of a group, in element order.
    struct Group {
        std::uint32_t bits[4 * V::width];

        explicit Group(u32* words) {
            V::transpose(words);
            for (int k = 0; k < 4; ++k) V::store_words(bits + k * V::width, words[k]);
        }
        f32 vector(int i) const { return V::signs(bits, i); }
    };

    // Sums over rows of the blocks' elements 32 k + 4 j + p in sum[k][j][p].
    template <int G>
    struct Totals {
        f32 sum[4][8][4];

        struct Ordered {
            float values[block_elements * V::width];
            f32 vector(int i) const { return V::load(values + i * V::width); }
        };

        Totals() {
            for (auto& word : sum) {
                for (auto& nibble : word) {
                    for (auto& bit : nibble) bit = V::set(0.0f);
                }
            }
        }
        Ordered group(int) const {
            Ordered ordered;
            for (int k = 0; k < 4; ++k) {
                for (int j = 0; j < 8; ++j) V::store_blocks(sum[k][j], ordered.values + 32 * k + 4 * j, block_elements);
            }
            return ordered;
        }
    };

    // The square of a sign is 1, whatever its weight is.
    template <int G>
    struct SquareTotals {
        struct Zeros {
            f32 vector(int) const { return V::set(0.0f); }
        };
        Zeros group(int) const { return {}; }
    };

    // (+-w0 +- w1) + (+-w2 +- w3) for every four bits, that of the first row lowest.
    static void make_table(const float* weights, std::size_t count, float* table) {
        float w[quad] = {};
        for (std::size_t r = 0; r < count; ++r) w[r] = weights[r];
        const float low[4] = {w[0] + w[1], -w[0] + w[1], w[0] - w[1], -w[0] - w[1]};
        const float high[4] = {w[2] + w[3], -w[2] + w[3], w[2] - w[3], -w[2] - w[3]};
        for (int h = 0; h < 4; ++h) {
            for (int l = 0; l < 4; ++l) table[4 * h + l] = low[l] + high[h];
        }
    }

    // out[p]: nibble j holds bit 4 j + p of the four words.
    FASTES_CALLABLE static void transpose_bits(u32 a, u32 b, u32 c, u32 d, u32* out) {
        constexpr std::uint32_t even = 0x55555555u, low = 0x33333333u;
        const u32 ab0 = V::select(even, a, V::template shift_left<1>(b));
        const u32 ab1 = V::select(even, V::template shift_right<1>(a), b);
        const u32 cd0 = V::select(even, c, V::template shift_left<1>(d));
        const u32 cd1 = V::select(even, V::template shift_right<1>(c), d);
        out[0] = V::select(low, ab0, V::template shift_left<2>(cd0));
        out[1] = V::select(low, ab1, V::template shift_left<2>(cd1));
        out[2] = V::select(low, V::template shift_right<2>(ab0), cd0);
        out[3] = V::select(low, V::template shift_right<2>(ab1), cd1);
    }

    template <int G>
    [[gnu::noinline]] static void add_chunk(const BlockKeys<V>* blocks, const WeightedRows& rows, const RoundKeys& keys,
                                            Totals<G>& totals) {
        static_assert(G == 1);
        u32 nibbles[quads][16];
        float tables[quads][16];
        int used = 0;
        for (std::size_t row = 0; row < rows.count; row += quad, ++used) {
            const std::size_t count = rows.count - row < quad ? rows.count - row : quad;
            RowKey four[quad];  // a missing row's weight is 0: any bits will do
            for (std::size_t r = 0; r < quad; ++r) four[r] = rows.keys[r < count ? row + r : row];
            u32 words[quad][4];
            philox_rows<V, 2>(*blocks, four, keys, words);
            philox_rows<V, 2>(*blocks, four + 2, keys, words + 2);
            for (int k = 0; k < 4; ++k) {
                transpose_bits(words[0][k], words[1][k], words[2][k], words[3][k], nibbles[used] + 4 * k);
            }
            make_table(rows.weights + row, count, tables[used]);
        }
        for (int k = 0; k < 4; ++k) {
            for (int p = 0; p < 4; ++p) {
                f32 sum[8];
                for (f32& s : sum) s = V::set(0.0f);
                for (int q = 0; q < used; ++q) {
                    const auto table = V::load_table(tables[q]);
                    const u32 nibble = nibbles[q][4 * k + p];
                    sum[0] = V::add(sum[0], V::lookup(table, nibble));
                    sum[1] = V::add(sum[1], V::lookup(table, V::template shift_right<4>(nibble)));
                    sum[2] = V::add(sum[2], V::lookup(table, V::template shift_right<8>(nibble)));
                    sum[3] = V::add(sum[3], V::lookup(table, V::template shift_right<12>(nibble)));
                    sum[4] = V::add(sum[4], V::lookup(table, V::template shift_right<16>(nibble)));
                    sum[5] = V::add(sum[5], V::lookup(table, V::template shift_right<20>(nibble)));
                    sum[6] = V::add(sum[6], V::lookup(table, V::template shift_right<24>(nibble)));
                    sum[7] = V::add(sum[7], V::lookup(table, V::template shift_right<28>(nibble)));
                }
                for (int j = 0; j < 8; ++j) totals.sum[k][j][p] = V::add(totals.sum[k][j][p], sum[j]);
            }
        }
    }

    template <int G>
    static void add_chunk_and_squares(const BlockKeys<V>* blocks, const WeightedRows& rows, const float*,
                                      const RoundKeys& keys, Totals<G>& totals, SquareTotals<G>&) {
        add_chunk<G>(blocks, rows, keys, totals);
    }
};

}  // namespace FASTES_ISA
}  // namespace fastes
