// A perceptron as Python makes it, checked.
#pragma once

#include <pybind11/numpy.h>

#include <cstdint>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include "fastes/mlp_shape.hpp"

namespace fastes::bindings {

namespace py = pybind11;

// Multiply-adds that cost what one normal costs.
inline constexpr double products_per_normal = 16.0;

// in, out, weight, bias (or none), activation
using LayerArguments =
    std::tuple<std::uint32_t, std::uint32_t, std::uint64_t, std::optional<std::uint64_t>, std::string>;

class Mlp {
public:
    Mlp(const std::vector<LayerArguments>& layers, std::uint64_t dim);

    std::size_t inputs() const { return layers_.front().in; }
    std::size_t outputs() const { return layers_.back().out; }
    std::uint64_t packed_floats() const { return packed_floats_; }
    MlpShape view() const { return {layers_.data(), layers_.size(), widest_}; }

    void pack(const py::array& thetas, py::array packed) const;
    void forward(const py::array& packed, const py::array& x, py::array out) const;

    // What pack has given for some members; TypeError or ValueError otherwise.
    const float* weights(const py::array& packed) const;

private:
    std::vector<MlpLayer> layers_;
    std::uint64_t dim_, packed_floats_ = 0;
    double products_ = 0.0;
    std::uint32_t widest_ = 0;
};

}  // namespace fastes::bindings
