// A multilayer perceptron forward, one member's weights over its rows of input.
//
//     y_o = activation(((s_0 + s_1) + (s_2 + s_3))),  s_c = b_o [c = 0] + sum over i = c mod 4 of W_oi x_i,  i
//     ascending
//
// Four chains of fused multiply-adds hide their latency; a chain is in one lane throughout, so the order is the same on
// every instruction set. The lanes of a vector are outputs; of a layer with few outputs, outputs and chains.
#pragma once

#include <cstddef>
#include <cstdint>

#include "fastes/activations.hpp"
#include "fastes/mlp_shape.hpp"
#include "fastes/target.hpp"

namespace fastes {
inline namespace FASTES_ISA {

// Zeros where there is no such output.
inline float mlp_weight(const MlpLayer& layer, const float* theta, std::uint32_t o, std::uint32_t i) {
    return o < layer.out ? theta[layer.weight + std::uint64_t{o} * layer.in + i] : 0.0f;
}
inline float mlp_bias(const MlpLayer& layer, const float* theta, std::uint32_t o) {
    return o < layer.out && layer.bias != no_bias ? theta[layer.bias + o] : 0.0f;
}

inline void pack_mlp(const MlpShape& shape, const float* theta, float* packed) {
    for (std::size_t l = 0; l < shape.count; ++l) {
        const MlpLayer& layer = shape.layers[l];
        if (layer.few()) {
            for (std::uint32_t first = 0; first < layer.out; first += 4) {
                for (std::uint32_t k = 0; k < mlp_tile; ++k) {
                    *packed++ = k % mlp_chains == 0 ? mlp_bias(layer, theta, first + k / mlp_chains) : 0.0f;
                }
                for (std::uint32_t i = 0; i < layer.in; i += mlp_chains) {
                    for (std::uint32_t k = 0; k < mlp_tile; ++k) {
                        *packed++ = mlp_weight(layer, theta, first + k / mlp_chains, i + k % mlp_chains);
                    }
                }
            }
            continue;
        }
        const std::uint32_t padded = layer.padded();
        for (std::uint32_t o = 0; o < padded; ++o) *packed++ = mlp_bias(layer, theta, o);
        for (std::uint32_t i = 0; i < layer.in; ++i) {
            for (std::uint32_t o = 0; o < padded; ++o) *packed++ = mlp_weight(layer, theta, o, i);
        }
    }
}

// Inputs x and outputs y of rows that are `apart` floats apart.
struct MlpRows {
    const float* x;
    std::size_t x_apart;
    float* y;
    std::size_t y_apart;
};

// Outputs of Vectors vectors for Rows rows, from columns that are `padded` apart.
template <class V, int Vectors, int Rows>
[[gnu::always_inline]] inline void mlp_outputs(const float* packed, std::uint32_t padded, std::uint32_t in,
                                               const MlpRows& rows, Activation activation) {
    using f32 = typename V::f32;
    constexpr int chains = static_cast<int>(mlp_chains);
    f32 sum[Rows][chains][Vectors];
    FASTES_UNROLL
    for (int r = 0; r < Rows; ++r) {
        FASTES_UNROLL
        for (int v = 0; v < Vectors; ++v) {
            sum[r][0][v] = V::load(packed + v * V::width);
            FASTES_UNROLL
            for (int c = 1; c < chains; ++c) sum[r][c][v] = V::set(0.0f);
        }
    }
    const float* column = packed + padded;
    const float* x = rows.x;
    const auto add = [&](int c, std::uint32_t i) __attribute__((always_inline)) {
        f32 weights[Vectors];
        FASTES_UNROLL
        for (int v = 0; v < Vectors; ++v) weights[v] = V::load(column + v * V::width);
        FASTES_UNROLL
        for (int r = 0; r < Rows; ++r) {
            const f32 factor = V::set(x[static_cast<std::size_t>(r) * rows.x_apart + i]);
            FASTES_UNROLL
            for (int v = 0; v < Vectors; ++v) sum[r][c][v] = V::fma(factor, weights[v], sum[r][c][v]);
        }
        column += padded;
    };
    std::uint32_t i = 0;
    for (; i + mlp_chains <= in; i += mlp_chains) {
        FASTES_UNROLL
        for (int c = 0; c < chains; ++c) add(c, i + static_cast<std::uint32_t>(c));
    }
    // What is left, written out: in a loop the sums would have to be in memory.
    if (i < in) add(0, i);
    if (i + 1 < in) add(1, i + 1);
    if (i + 2 < in) add(2, i + 2);
    f32 total[Rows * Vectors];
    FASTES_UNROLL
    for (int r = 0; r < Rows; ++r) {
        FASTES_UNROLL
        for (int v = 0; v < Vectors; ++v) {
            total[r * Vectors + v] = V::add(V::add(sum[r][0][v], sum[r][1][v]), V::add(sum[r][2][v], sum[r][3][v]));
        }
    }
    activate<V, Rows * Vectors>(activation, total);
    FASTES_UNROLL
    for (int r = 0; r < Rows; ++r) {
        FASTES_UNROLL
        for (int v = 0; v < Vectors; ++v) {
            V::store(rows.y + static_cast<std::size_t>(r) * rows.y_apart + v * V::width, total[r * Vectors + v]);
        }
    }
}

// Four outputs of few. y: a tile, zeros behind the outputs.
template <class V>
[[gnu::always_inline]] inline void mlp_quad(const float* packed, std::uint32_t in, const float* x, float* y) {
    constexpr int vectors = static_cast<int>(mlp_tile) / V::width;
    typename V::f32 sum[vectors];
    FASTES_UNROLL
    for (int v = 0; v < vectors; ++v) sum[v] = V::load(packed + v * V::width);
    for (std::uint32_t i = 0; i < in; i += mlp_chains) {
        packed += mlp_tile;
        FASTES_UNROLL
        for (int v = 0; v < vectors; ++v) {
            sum[v] = V::fma(V::load_quad(x + i, v), V::load(packed + v * V::width), sum[v]);
        }
    }
    float sums[mlp_tile];
    FASTES_UNROLL
    for (int v = 0; v < vectors; ++v) V::store(sums + v * V::width, sum[v]);
    for (int o = 0; o < 4; ++o) {
        const float* of = sums + 4 * o;
        y[o] = ScalarLanes::add(ScalarLanes::add(of[0], of[1]), ScalarLanes::add(of[2], of[3]));
    }
}

template <class V>
inline void activate_tile(Activation activation, float* y) {
    constexpr int vectors = static_cast<int>(mlp_tile) / V::width;
    typename V::f32 x[vectors];
    for (int v = 0; v < vectors; ++v) x[v] = V::load(y + v * V::width);
    activate<V, vectors>(activation, x);
    for (int v = 0; v < vectors; ++v) V::store(y + v * V::width, x[v]);
}

// One layer for Rows rows.
template <class V, int Rows>
[[gnu::always_inline]] inline void forward_layer(const MlpLayer& layer, const float* packed, const MlpRows& rows) {
    constexpr int of_tile = static_cast<int>(mlp_tile) / V::width;  // vectors
    constexpr std::uint32_t tiles = V::mlp_tiles / Rows;
    const std::uint32_t padded = layer.padded();
    if (layer.few()) {
        for (std::size_t r = 0; r < Rows; ++r) {
            const float* x = rows.x + r * rows.x_apart;
            float* y = rows.y + r * rows.y_apart;
            for (std::uint32_t q = 0; q < layer.quads(); ++q) {
                mlp_quad<V>(packed + layer.packed_floats() / layer.quads() * q, layer.in, x, y + 4 * q);
            }
            for (std::uint32_t o = 4 * layer.quads(); o < mlp_tile; ++o) y[o] = 0.0f;
            if (layer.activation != Activation::identity) activate_tile<V>(layer.activation, y);
        }
        return;
    }
    MlpRows part = rows;
    std::uint32_t o = 0;
    for (; o + tiles * mlp_tile <= padded; o += tiles * mlp_tile, part.y += tiles * mlp_tile) {
        mlp_outputs<V, tiles * of_tile, Rows>(packed + o, padded, layer.in, part, layer.activation);
    }
    if constexpr (tiles > 1) {
        for (; o < padded; o += mlp_tile, part.y += mlp_tile) {
            mlp_outputs<V, of_tile, Rows>(packed + o, padded, layer.in, part, layer.activation);
        }
    }
}

template <class V, int Rows>
inline void forward_rows(const MlpShape& shape, const float* packed, const float* x, float* out, float* scratch) {
    const std::size_t apart = shape.widest;
    const MlpLayer& last = shape.layers[shape.count - 1];
    MlpRows rows{x, shape.layers[0].in, scratch, apart};
    float* there = scratch + Rows * apart;
    for (std::size_t l = 0; l < shape.count; ++l) {
        forward_layer<V, Rows>(shape.layers[l], packed, rows);
        packed += shape.layers[l].packed_floats();
        const float* done = rows.y;
        rows = {done, apart, there, apart};
        there = const_cast<float*>(done);
    }
    for (std::size_t r = 0; r < Rows; ++r) {
        for (std::uint32_t o = 0; o < last.out; ++o) out[r * last.out + o] = rows.x[r * apart + o];
    }
}

// rows: of x [rows][in], out [rows][last layer's out]. scratch: shape.scratch_floats().
template <class V>
inline void forward_mlp(const MlpShape& shape, const float* packed, std::size_t rows, const float* x, float* out,
                        float* scratch) {
    const std::size_t in = shape.layers[0].in, outputs = shape.layers[shape.count - 1].out;
    std::size_t row = 0;
    // Two rows share each vector of weights, where there are registers for the chains of both: 155 ns a row instead of
    // 178 with 64-64 tanh, and 1670 instead of 2680 with 256-256, whose weights come from the second cache.
    if constexpr (V::mlp_tiles % mlp_rows == 0) {
        for (; row + mlp_rows <= rows; row += mlp_rows) {
            forward_rows<V, mlp_rows>(shape, packed, x + row * in, out + row * outputs, scratch);
        }
    }
    for (; row < rows; ++row) forward_rows<V, 1>(shape, packed, x + row * in, out + row * outputs, scratch);
}

}  // namespace FASTES_ISA
}  // namespace fastes
