#include "mlp.hpp"

#include <pybind11/stl.h>

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "arguments.hpp"
#include "backends.hpp"
#include "fastes/dispatch.hpp"
#include "fastes/threads.hpp"

namespace fastes::bindings {
namespace {

constexpr std::pair<const char*, Activation> activations[] = {
    {"identity", Activation::identity},   {"tanh", Activation::tanh},
    {"relu", Activation::relu},           {"elu", Activation::elu},
    {"silu", Activation::silu},           {"gelu", Activation::gelu},
    {"gelu_tanh", Activation::gelu_tanh}, {"sigmoid", Activation::sigmoid},
};

Activation activation_of(const std::string& name) {
    std::string known;
    for (const auto& [other, activation] : activations) {
        if (name == other) return activation;
        if (!known.empty()) known += ", ";
        known += other;
    }
    throw py::value_error("an activation must be one of " + known + ", not " + name + ".");
}

constexpr std::uint32_t largest_width = 1u << 20;

}  // namespace

Mlp::Mlp(const std::vector<LayerArguments>& layers, std::uint64_t dim) : dim_(dim) {
    if (layers.empty()) throw py::value_error("a multilayer perceptron must have at least one layer.");
    for (const auto& [in, out, weight, bias, activation] : layers) {
        const std::size_t number = layers_.size();
        if (in == 0 || out == 0 || in > largest_width || out > largest_width) {
            throw py::value_error("layer " + std::to_string(number) + " must have from 1 to 2^20 inputs and outputs.");
        }
        if (number > 0 && layers_.back().out != in) {
            throw py::value_error("layer " + std::to_string(number) + " has " + std::to_string(in) +
                                  " inputs, but the one before has " + std::to_string(layers_.back().out) +
                                  " outputs.");
        }
        const std::uint64_t weights = std::uint64_t{in} * out;
        if (weights > dim || weight > dim - weights || (bias && (out > dim || *bias > dim - out))) {
            throw py::value_error("layer " + std::to_string(number) + " lies outside of theta, which has " +
                                  std::to_string(dim) + " elements.");
        }
        layers_.push_back({in, out, weight, bias.value_or(no_bias), activation_of(activation)});
        packed_floats_ += layers_.back().packed_floats();
        products_ += static_cast<double>(weights);
        widest_ = std::max({widest_, in, layers_.back().padded()});
    }
}

void Mlp::pack(const py::array& thetas, py::array packed) const {
    const float* from = floats(Array(thetas), "thetas", 2);
    const auto members = static_cast<std::size_t>(thetas.shape(0));
    if (static_cast<std::uint64_t>(thetas.shape(1)) != dim_) {
        throw py::value_error("thetas must have " + std::to_string(dim_) + " columns, not " +
                              std::to_string(thetas.shape(1)) + ".");
    }
    auto* to = static_cast<float*>(writeable(Array(packed), "packed", sizeof(float), members * packed_floats_));
    const MlpShape shape = view();
    const KernelTable& table = kernels();
    const py::gil_scoped_release released;
    for_pieces(members, static_cast<double>(members * packed_floats_) / products_per_normal,
               [&](std::size_t k) { table.mlp_pack(shape, from + k * dim_, to + k * packed_floats_); });
}

void Mlp::forward(const py::array& packed, const py::array& x, py::array out) const {
    const float* all = weights(packed);
    const float* input = floats(Array(x), "x", 3);
    floats(Array(out), "out", 3);
    const auto members = static_cast<std::size_t>(packed.shape(0)), rows = static_cast<std::size_t>(x.shape(1));
    const std::size_t in = inputs(), outputs = this->outputs();
    if (static_cast<std::size_t>(x.shape(0)) != members || static_cast<std::size_t>(x.shape(2)) != in) {
        throw py::value_error("x must have shape (" + std::to_string(members) + ", rows, " + std::to_string(in) + ").");
    }
    auto* to = static_cast<float*>(writeable(Array(out), "out", sizeof(float), members * rows * outputs));
    const MlpShape shape = view();
    const KernelTable& table = kernels();
    const std::size_t pieces = std::min<std::size_t>(members, static_cast<std::size_t>(num_threads()) * 4);
    const std::size_t together = pieces == 0 ? 0 : (members + pieces - 1) / pieces;
    std::vector<float> scratch(pieces * shape.scratch_floats());
    const py::gil_scoped_release released;
    for_pieces(pieces, products_ * static_cast<double>(members * rows) / products_per_normal, [&](std::size_t piece) {
        const std::size_t end = std::min(members, (piece + 1) * together);
        for (std::size_t k = piece * together; k < end; ++k) {
            table.mlp_forward(shape, all + k * packed_floats_, rows, input + k * rows * in, to + k * rows * outputs,
                              scratch.data() + piece * shape.scratch_floats());
        }
    });
}

const float* Mlp::weights(const py::array& packed) const {
    const float* all = floats(Array(packed), "packed", 2);
    if (static_cast<std::uint64_t>(packed.shape(1)) != packed_floats_) {
        throw py::value_error("packed must be what pack gives: of " + std::to_string(packed_floats_) +
                              " columns, not " + std::to_string(packed.shape(1)) + ".");
    }
    return all;
}

void register_mlp(py::module_& module) {
    py::class_<Mlp>(module, "Mlp")
        .def(py::init<const std::vector<LayerArguments>&, std::uint64_t>(), py::arg("layers"), py::arg("dim"))
        .def_property_readonly("packed_floats", &Mlp::packed_floats)
        .def("pack", &Mlp::pack, py::arg("thetas"), py::arg("packed"))
        .def("forward", &Mlp::forward, py::arg("packed"), py::arg("x"), py::arg("out"));
}

}  // namespace fastes::bindings
