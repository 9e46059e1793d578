// A multilayer perceptron forward, one member's weights over its rows of input.
//
//     y_o = activation(((s_0 + s_1) + (s_2 + s_3))),  s_c = b_o [c = 0] + sum over i = c mod 4 of W_oi x_i,  i
//     ascending
//
// Four chains of fused multiply-adds hide their latency; an output is in one lane throughout, so the order is the same
// on every instruction set.
#pragma once

#include <cstddef>
#include <cstdint>

#include "fastes/activations.hpp"
#include "fastes/mlp_shape.hpp"

namespace fastes {
inline namespace FASTES_ISA {

inline constexpr int mlp_chains = 4;

inline void pack_mlp(const MlpShape& shape, const float* theta, float* packed) {
    for (std::size_t l = 0; l < shape.count; ++l) {
        const MlpLayer& layer = shape.layers[l];
        const std::uint32_t padded = layer.padded();
        for (std::uint32_t o = 0; o < padded; ++o) {
            packed[o] = o < layer.out && layer.bias != no_bias ? theta[layer.bias + o] : 0.0f;
        }
        packed += padded;
        for (std::uint32_t i = 0; i < layer.in; ++i, packed += padded) {
            for (std::uint32_t o = 0; o < padded; ++o) {
                packed[o] = o < layer.out ? theta[layer.weight + std::uint64_t{o} * layer.in + i] : 0.0f;
            }
        }
    }
}

// Outputs of Vectors vectors, from columns that are `padded` apart.
template <class V, int Vectors>
[[gnu::always_inline]] inline void mlp_outputs(const float* packed, std::uint32_t padded, std::uint32_t in,
                                               const float* x, Activation activation, float* y) {
    using f32 = typename V::f32;
    f32 sum[mlp_chains][Vectors];
    for (int v = 0; v < Vectors; ++v) {
        sum[0][v] = V::load(packed + v * V::width);
        for (int c = 1; c < mlp_chains; ++c) sum[c][v] = V::set(0.0f);
    }
    const float* column = packed + padded;
    std::uint32_t i = 0;
    for (; i + mlp_chains <= in; i += mlp_chains) {
        for (int c = 0; c < mlp_chains; ++c, column += padded) {
            const f32 factor = V::set(x[i + static_cast<std::uint32_t>(c)]);
            for (int v = 0; v < Vectors; ++v) sum[c][v] = V::fma(factor, V::load(column + v * V::width), sum[c][v]);
        }
    }
    for (int c = 0; c < mlp_chains - 1; ++c, ++i, column += padded) {
        if (i == in) break;
        const f32 factor = V::set(x[i]);
        for (int v = 0; v < Vectors; ++v) sum[c][v] = V::fma(factor, V::load(column + v * V::width), sum[c][v]);
    }
    for (int v = 0; v < Vectors; ++v) {
        const f32 total = V::add(V::add(sum[0][v], sum[1][v]), V::add(sum[2][v], sum[3][v]));
        V::store(y + v * V::width, activated<V>(activation, total));
    }
}

// rows: of x [rows][in], out [rows][last layer's out]. scratch: 2 shape.widest floats.
template <class V>
inline void forward_mlp(const MlpShape& shape, const float* packed, std::size_t rows, const float* x, float* out,
                        float* scratch) {
    constexpr int of_tile = static_cast<int>(mlp_tile) / V::width;  // vectors
    const MlpLayer& last = shape.layers[shape.count - 1];
    for (std::size_t row = 0; row < rows; ++row, x += shape.layers[0].in, out += last.out) {
        const float *input = x, *weights = packed;
        float *here = scratch, *there = scratch + shape.widest;
        for (std::size_t l = 0; l < shape.count; ++l) {
            const MlpLayer& layer = shape.layers[l];
            const std::uint32_t padded = layer.padded();
            std::uint32_t o = 0;
            for (; o + V::mlp_tiles * mlp_tile <= padded; o += V::mlp_tiles * mlp_tile) {
                mlp_outputs<V, V::mlp_tiles * of_tile>(weights + o, padded, layer.in, input, layer.activation,
                                                       here + o);
            }
            for (; o < padded; o += mlp_tile) {
                mlp_outputs<V, of_tile>(weights + o, padded, layer.in, input, layer.activation, here + o);
            }
            weights += layer.packed_floats();
            input = here;
            here = there;
            there = const_cast<float*>(input);
        }
        for (std::uint32_t o = 0; o < last.out; ++o) out[o] = input[o];
    }
}

}  // namespace FASTES_ISA
}  // namespace fastes
