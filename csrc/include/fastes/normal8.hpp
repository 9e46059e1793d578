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
    static constexpr float step = 0x1p-5f;  // what the vectors' values count for
    static constexpr int elements = block_elements * V::width;

    // The levels of a group, in element order.
    struct Group {
        std::int8_t levels[elements];

        explicit Group(u32* words) { store_levels(words, levels); }
        f32 vector(int i) const { return V::widen(levels + i * V::width); }
    };

    template <int G>
    struct Totals {
        float values[elements] = {};

        const Totals& group(int) const { return *this; }
        f32 vector(int i) const { return V::load(values + i * V::width); }
    };

    static void store_levels(u32* words, std::int8_t* out) {
        V::transpose(words);
        for (int k = 0; k < 4; ++k) {
            V::store_words(reinterpret_cast<std::uint32_t*>(out) + k * V::width, V::levels(words[k]));
        }
    }

    // One chain of fused multiply-adds from +0, of weights that the step is multiplied into. First the levels of all
    // rows, then the chains of eight vectors at a time.
    template <int G>
    static void add_chunk(const BlockKeys<V>* blocks, const WeightedRows& rows, const RoundKeys& keys,
                          Totals<G>& totals) {
        static_assert(G == 1);
        constexpr int together = 8;
        alignas(64) std::int8_t levels[chunk_rows][elements];
        float weights[chunk_rows];
        for (std::size_t row = 0; row < rows.count; ++row) {
            u32 words[1][4];
            philox_words<V, 1>(blocks, rows.keys[row], keys, words);
            store_levels(words[0], levels[row]);
            weights[row] = rows.weights[row] * step;
        }
        for (int i = 0; i < block_elements; i += together) {
            f32 sum[together];
            for (f32& s : sum) s = V::set(0.0f);
            for (std::size_t row = 0; row < rows.count; ++row) {
                const f32 weight = V::set(weights[row]);
                for (int v = 0; v < together; ++v) {
                    sum[v] = V::fma(weight, V::widen(levels[row] + (i + v) * V::width), sum[v]);
                }
            }
            for (int v = 0; v < together; ++v) {
                float* total = totals.values + (i + v) * V::width;
                V::store(total, V::add(V::load(total), sum[v]));
            }
        }
    }
};

}  // namespace FASTES_ISA
}  // namespace fastes
