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

// y = activation(W x + b), W row-major [out][in] in theta.
struct MlpLayer {
    std::uint32_t in, out;
    std::uint64_t weight, bias;  // where they begin in theta; no_bias
    Activation activation;

    std::uint32_t padded() const { return (out + mlp_tile - 1) / mlp_tile * mlp_tile; }
    // b, then W by columns, each padded with zeros.
    std::uint64_t packed_floats() const { return std::uint64_t{padded()} * (in + std::uint64_t{1}); }
};

struct MlpShape {
    const MlpLayer* layers;
    std::size_t count;
    std::uint32_t widest;  // of inputs and padded outputs
};

}  // namespace fastes
