#include "fastes/rollout.hpp"

#include <pybind11/stl.h>

#include <cmath>
#include <optional>
#include <string>
#include <vector>

#include "arguments.hpp"
#include "backends.hpp"
#include "mlp.hpp"

namespace fastes::bindings {
namespace {

using Optional = std::optional<py::array>;

std::string text(const std::vector<std::size_t>& shape) {
    std::string sides;
    for (const std::size_t side : shape) sides += (sides.empty() ? "" : ", ") + std::to_string(side);
    return "(" + sides + (shape.size() == 1 ? ",)" : ")");
}

// A C-contiguous, writeable array of T with these sides.
template <class T>
T* array_of(const py::array& array, const char* name, const std::vector<std::size_t>& shape) {
    const Array seen(array);
    bool fits = array.dtype().equal(py::dtype::of<T>()) && static_cast<std::size_t>(array.ndim()) == shape.size();
    for (std::size_t i = 0; fits && i < shape.size(); ++i) fits = seen.side(static_cast<int>(i)) == shape[i];
    if (!fits) {
        throw py::value_error(std::string(name) + " must be " + std::string(py::str(py::dtype::of<T>())) +
                              " of shape " + text(shape) + ", not " + seen.dtype() + " of shape " + seen.shape_text() +
                              ".");
    }
    return static_cast<T*>(writeable(seen, name, sizeof(T), seen.size));
}

// All or none of those that belong together.
template <class... Arrays>
bool given(const char* names, const Arrays&... arrays) {
    const int count = (0 + ... + (arrays ? 1 : 0));
    if (count != 0 && count != sizeof...(arrays)) throw py::value_error(std::string(names) + " belong together.");
    return count != 0;
}

std::uint64_t play_all(const Mlp& mlp, const py::array& packed, std::uintptr_t step, std::size_t lanes,
                       std::size_t work, std::int64_t max_steps, const py::array& state, const py::array& active,
                       const py::array& steps, const py::array& observations, const py::array& rewards,
                       const py::array& terminated, const py::array& truncated, const py::array& returns,
                       const Optional& low, const Optional& high, const Optional& mean, const Optional& scale,
                       float clip, const Optional& sampled, const Optional& totals, const Optional& squares) {
    const float* weights = mlp.weights(packed);
    if (state.ndim() != 2) {
        throw py::value_error("state must have 2 dimensions, not shape " + Array(state).shape_text() + ".");
    }
    const auto members = static_cast<std::size_t>(packed.shape(0)), n = static_cast<std::size_t>(state.shape(0));
    const auto states = static_cast<std::size_t>(state.shape(1));
    const std::size_t observed = mlp.inputs(), outputs = mlp.outputs();
    if (members == 0 || n % members != 0) {
        throw py::value_error("episodes must be a multiple of the members in packed, not " + std::to_string(n) +
                              " for " + std::to_string(members) + " members.");
    }
    if (step == 0) throw py::value_error("step must be the address of a function, not 0.");
    if (max_steps < 1) throw py::value_error("max_steps must be at least 1, not " + std::to_string(max_steps) + ".");
    const Episodes episodes{
        array_of<double>(state, "state", {n, states}),
        nullptr,
        array_of<bool>(active, "active", {n}),
        array_of<std::uint32_t>(steps, "steps", {n}),
        array_of<float>(observations, "observations", {n, observed}),
        array_of<double>(rewards, "rewards", {n}),
        array_of<bool>(terminated, "terminated", {n}),
        array_of<bool>(truncated, "truncated", {n}),
        array_of<double>(returns, "returns", {n}),
        nullptr,
        nullptr,
    };
    const Environment environment{
        reinterpret_cast<decltype(Environment::step)>(step), states, observed, lanes, work, max_steps};
    Decoding decoding{outputs, nullptr, nullptr};
    if (given("low and high", low, high)) {
        decoding.low = array_of<float>(*low, "low", {outputs});
        decoding.high = array_of<float>(*high, "high", {outputs});
    }
    Sight sight{nullptr, nullptr, clip};
    if (!(clip >= 0.0f)) throw py::value_error("clip must be 0 or above, not " + std::to_string(clip) + ".");
    if (given("mean and scale", mean, scale)) {
        sight.mean = array_of<float>(*mean, "mean", {observed});
        sight.scale = array_of<float>(*scale, "scale", {observed});
    }
    Moments moments{nullptr, nullptr, nullptr};
    if (given("sampled, totals and squares", sampled, totals, squares)) {
        moments.sampled = array_of<bool>(*sampled, "sampled", {n});
        moments.totals = array_of<double>(*totals, "totals", {n, observed});
        moments.squares = array_of<double>(*squares, "squares", {n, observed});
    }
    const Players players{mlp.view(), weights, mlp.packed_floats(), n / members};
    const py::gil_scoped_release released;
    return play(players, environment, sight, decoding, moments, episodes, n);
}

}  // namespace

void register_rollout(py::module_& module) {
    module.def("play", &play_all, py::arg("mlp"), py::arg("packed"), py::kw_only(), py::arg("step"), py::arg("lanes"),
               py::arg("work"), py::arg("max_steps"), py::arg("state"), py::arg("active"), py::arg("steps"),
               py::arg("observations"), py::arg("rewards"), py::arg("terminated"), py::arg("truncated"),
               py::arg("returns"), py::arg("low"), py::arg("high"), py::arg("mean"), py::arg("scale"), py::arg("clip"),
               py::arg("sampled"), py::arg("totals"), py::arg("squares"));
}

}  // namespace fastes::bindings
