// What a multilayer perceptron is to its kernel: plain data.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>

namespace fastes {

enum class Activation { identity, tanh, relu, elu, silu, gelu, gelu_tanh, sigmoid };

inline constexpr std::uint64_t no_bias = std::numeric_limits<std::uint64_t>::max();
// Outputs of a layer are padded to a multiple of this, the widest lanes.
inline constexpr std::uint32_t mlp_tile = 16;
// Each output is the sum of so many chains.
inline constexpr std::uint32_t mlp_chains = 4;
// At most so many rows go through the layers together.
inline constexpr int mlp_rows = 2;

// y = activation(W x + b), W row-major [out][in] in theta.
struct MlpLayer {
    std::uint32_t in, out;
    std::uint64_t weight, bias;  // where they begin in theta; no_bias
    Activation activation;

    std::uint32_t padded() const { return (out + mlp_tile - 1) / mlp_tile * mlp_tile; }
    // Few outputs fill a tile with their chains: 4 outputs by 4 chains, a quarter of the products where they are 4.
    bool few() const { return out <= 12 && in % mlp_chains == 0; }
    std::uint32_t quads() const { return (out + 3) / 4; }
    // b, then W by columns, each padded with zeros. Of few outputs, for each four of them: a tile of b, in the first
    // chain, and a tile of W for every four inputs; output o and chain c are in lane 4 o + c.
    std::uint64_t packed_floats() const {
        if (few()) return std::uint64_t{mlp_tile} * quads() * (in / mlp_chains + std::uint64_t{1});
        return std::uint64_t{padded()} * (in + std::uint64_t{1});
    }
};

struct MlpShape {
    const MlpLayer* layers;
    std::size_t count;
    std::uint32_t widest;  // of inputs and padded outputs

    // What the rows have before a layer and behind it.
    std::size_t scratch_floats() const { return std::size_t{2} * mlp_rows * widest; }
};

}  // namespace fastes
