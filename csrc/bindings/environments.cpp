#include <iterator>
#include <limits>
#include <string>
#include <vector>

#include "backends.hpp"

namespace fastes::bindings {
namespace {

struct NamedDynamics {
    const char* name;
    Dynamics dynamics;
    EpisodeSizes sizes;
};

constexpr NamedDynamics environments[] = {
    {"cartpole", Dynamics::cartpole, cartpole_sizes},
    {"pendulum", Dynamics::pendulum, pendulum_sizes},
};

const NamedDynamics& environment_of(const std::string& name) {
    std::string names;
    for (const NamedDynamics& environment : environments) {
        if (name == environment.name) return environment;
        names += (names.empty() ? "" : ", ") + std::string(environment.name);
    }
    throw py::value_error("name must be one of " + names + ", not '" + name + "'.");
}

// The array's memory, if it has this dtype and shape.
void* fitting(const Array& array, const char* name, const char* dtype, const std::vector<std::size_t>& shape) {
    bool fits = array.dtype() == dtype && static_cast<std::size_t>(array.dimensions) == shape.size();
    for (std::size_t i = 0; fits && i < shape.size(); ++i) fits = array.side(static_cast<int>(i)) == shape[i];
    if (!fits) {
        std::string sides;
        for (const std::size_t side : shape) sides += (sides.empty() ? "" : ", ") + std::to_string(side);
        throw py::value_error(std::string(name) + " must be " + dtype + " of shape (" + sides +
                              (shape.size() == 1 ? ",)" : ")") + ", not " + array.dtype() + " of shape " +
                              array.shape_text() + ".");
    }
    require_contiguous(array, name);
    return array.data;
}

template <class Backend, class A = typename Backend::Array>
auto environment_step(const Backend& backend, const std::string& name, const A& state, const A& outputs,
                      const A& observations, const A& rewards, const A& returns, const A& steps, const A& terminated,
                      const A& active, const py::handle& max_steps) {
    const NamedDynamics& environment = environment_of(name);
    const auto [states, observed, given] = environment.sizes;
    const std::uint64_t limit = integer(max_steps, "max_steps", std::numeric_limits<std::int32_t>::max());
    if (limit == 0) throw py::value_error("max_steps must be at least 1.");
    const Array lasting(state), acting(outputs), seen(observations), rewarded(rewards), summed(returns), taken(steps),
        ended(terminated), running(active);
    const std::size_t n = running.size;
    if (n == 0) throw py::value_error("active must have at least 1 element.");
    EpisodeStep step{};
    step.count = n;
    step.max_steps = static_cast<std::int32_t>(limit);
    step.active = static_cast<bool*>(fitting(running, "active", "bool", {n}));
    step.outputs = static_cast<const float*>(fitting(acting, "outputs", "float32", {n, given}));
    step.state = static_cast<double*>(fitting(lasting, "state", "float64", {states, n}));
    step.observations = static_cast<float*>(fitting(seen, "observations", "float32", {n, observed}));
    step.rewards = static_cast<double*>(fitting(rewarded, "rewards", "float64", {n}));
    step.returns = static_cast<double*>(fitting(summed, "returns", "float64", {n}));
    step.steps = static_cast<std::int32_t*>(fitting(taken, "steps", "int32", {n}));
    step.terminated = static_cast<bool*>(fitting(ended, "terminated", "bool", {n}));
    const Named written[] = {{&lasting, "state"}, {&seen, "observations"}, {&rewarded, "rewards"}, {&summed, "returns"},
                             {&taken, "steps"},   {&ended, "terminated"},  {&running, "active"}};
    for (const Named* array = written; array != std::end(written); ++array) {
        writeable(*array->array, array->name, array->array->itemsize, array->array->size);
        no_overlap(*array, {&acting, "outputs"});
        for (const Named* other = written; other != array; ++other) no_overlap(*array, *other);
    }
    return backend.environment_step(environment.dynamics, step);
}

}  // namespace

void register_environments(Registry& both) {
    both.add("environment_step", environment_step<Cpu>, environment_step<Gpu>, py::arg("name"), py::arg("state"),
             py::arg("outputs"), py::arg("observations"), py::arg("rewards"), py::arg("returns"), py::arg("steps"),
             py::arg("terminated"), py::arg("active"), py::arg("max_steps"));
}

}  // namespace fastes::bindings
