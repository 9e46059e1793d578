// Plans for GPUs as Python sees them: described arrays go in, a list of launches comes out. Nothing touches a GPU here.
#include <pybind11/stl.h>
#include <pybind11/typing.h>

#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include "backends.hpp"

namespace fastes::bindings {
namespace {

device::Rows there(const RowArray& rows) {
    return {static_cast<const std::uint32_t*>(rows.numbers), rows.wide ? 2u : 1u, rows.count};
}

device::Weighted there(const WeightedArray& rows) {
    return {there(rows.rows), rows.weights};
}

using PlannedLaunch = std::tuple<std::string, std::uint32_t, std::uint32_t, std::uint32_t, py::bytes>;

// (kernel, grid_x, grid_y, threads, parameters) each; a grid without blocks, which CUDA would refuse, is left out.
std::vector<PlannedLaunch> launches(const device::Plan& plan, std::uintptr_t scratch) {
    std::vector<PlannedLaunch> all;
    for (const device::Launch& launch : plan.launches(reinterpret_cast<void*>(scratch))) {
        if (launch.grid_x == 0 || launch.grid_y == 0) continue;
        const auto* parameters = reinterpret_cast<const char*>(launch.parameters.data());
        all.emplace_back(launch.kernel, launch.grid_x, launch.grid_y, launch.threads,
                         py::bytes(parameters, launch.parameters.size()));
    }
    return all;
}

// Of kernels for tests and benchmarks of the noise itself.

device::Plan words_only(const Gpu&, const DeviceArray& weights, const DeviceArray& rows, std::uint64_t dim,
                        const py::handle& seed, const DeviceArray& out) {
    const Address at = address(seed, py::int_(0), py::int_(0), py::str("normal"));
    const Array to(out);
    const WeightedArray weighted = weighted_array(weights, rows);
    auto* words = static_cast<std::uint32_t*>(writeable(to, "out", 4, device::words_only_size(dim)));
    return device::words_only(at, there(weighted), dim, words);
}

device::Plan transform_digests(const Gpu&, const py::handle& stride, const DeviceArray& out) {
    const std::uint64_t every = integer(stride, "stride", std::uint64_t{1} << 32);
    if (every == 0) throw py::value_error("stride must be at least 1.");
    const Array to(out);
    auto* digests = static_cast<std::uint64_t*>(writeable(to, "out", 8, device::transform_digests_size(every)));
    return device::transform_digests(every, digests);
}

}  // namespace

device::Plan Gpu::philox(const std::uint32_t* counters, std::size_t count, std::uint64_t key, int rounds,
                         std::uint32_t* out) const {
    return device::philox(counters, count, key, rounds, out);
}

device::Plan Gpu::normal(const Address& address, std::uint32_t row, std::uint64_t first, std::uint64_t dim,
                         float* out) const {
    return device::fill(address, {nullptr, 1, 1, row}, first, dim, out);
}

device::Plan Gpu::perturb(const Address& address, const RowArray& rows, std::uint64_t first,
                          const Perturb& args) const {
    return device::perturb(processor, address, there(rows), first, args);
}

device::Plan Gpu::weighted_sum(const Address& address, const WeightedArray& rows, std::uint64_t first,
                               std::uint64_t dim, float* out) const {
    return device::weighted_sum(processor, address, there(rows), first, dim, out);
}

device::Plan Gpu::weighted_sums(const Address& address, const WeightedArray& rows, const float* square_weights,
                                std::uint64_t first, std::uint64_t dim, float* g, float* h) const {
    return device::weighted_sums(processor, address, there(rows), square_weights, first, dim, g, h);
}

device::Plan Gpu::snes_step(const Address& address, const WeightedArray& rows, std::uint64_t first, std::uint64_t dim,
                            const SnesStep& step) const {
    return device::snes_step(processor, address, there(rows), first, dim, step);
}

device::Plan Gpu::sgd_apply(const float* gradient, std::uint64_t dim, const SgdStep& step) const {
    return device::sgd_apply(gradient, dim, step);
}

device::Plan Gpu::adam_apply(const float* gradient, std::uint64_t dim, const AdamStep& step) const {
    return device::adam_apply(gradient, dim, step);
}

device::Plan Gpu::sgd_step(const Address& address, const WeightedArray& rows, std::uint64_t first, std::uint64_t dim,
                           const SgdStep& step) const {
    return device::sgd_step(processor, address, there(rows), first, dim, step);
}

device::Plan Gpu::adam_step(const Address& address, const WeightedArray& rows, std::uint64_t first, std::uint64_t dim,
                            const AdamStep& step) const {
    return device::adam_step(processor, address, there(rows), first, dim, step);
}

device::Plan Gpu::clipup_step(const Address& address, const WeightedArray& rows, std::uint64_t first, std::uint64_t dim,
                              const ClipUpStep& step) const {
    return device::clipup_step(processor, address, there(rows), first, dim, step);
}

device::Plan Gpu::low_rank_factors(const Address& address, const RowArray& rows, const LowRank& shape,
                                   float* out) const {
    return device::fill(address, there(rows), shape.first, shape.factor_elements(), out);
}

device::Plan Gpu::low_rank_perturb(const Address& address, const RowArray& rows, const LowRank& shape,
                                   const float* theta, const float* scales, void* out, OutputType type) const {
    return device::low_rank_perturb(processor, address, there(rows), shape, theta, scales, out, type);
}

device::Plan Gpu::low_rank_sum(const Address& address, const WeightedArray& rows, const LowRank& shape,
                               float* out) const {
    return device::low_rank_sum(processor, address, there(rows), shape, out);
}

device::Plan Gpu::low_rank_apply(const Address& address, const WeightedArray& members, const LowRank& shape,
                                 const LayerRows& rows) const {
    return device::low_rank_apply(processor, address, there(members.rows), members.weights, shape, rows);
}

device::Plan Gpu::environment_step(Dynamics dynamics, const EpisodeStep& step) const {
    return device::environment_step(dynamics, step);
}

py::class_<Gpu> register_plans(py::module_& module) {
    py::class_<DeviceArray>(module, "DeviceArray")
        .def(py::init([](std::uintptr_t pointer, std::vector<py::ssize_t> shape, std::string dtype,
                         std::size_t itemsize, bool contiguous, bool writeable) {
                 return DeviceArray{pointer, std::move(shape), std::move(dtype), itemsize, contiguous, writeable};
             }),
             py::arg("pointer"), py::arg("shape"), py::arg("dtype"), py::arg("itemsize"), py::arg("contiguous"),
             py::arg("writeable"))
        .def_readonly("pointer", &DeviceArray::pointer)
        .def_property_readonly("shape",
                               [](const DeviceArray& array) {
                                   return py::typing::Tuple<py::int_, py::ellipsis>(py::tuple(py::cast(array.shape)));
                               })
        .def_property_readonly("size", &DeviceArray::size)
        .def_readonly("dtype", &DeviceArray::dtype);
    py::class_<device::Plan>(module, "Plan")
        .def_readonly("scratch_bytes", &device::Plan::scratch_bytes)
        .def("launches", launches, py::arg("scratch_pointer"));
    module.def(
        "checked_row_numbers",
        [](const py::array& rows) {
            const Rows numbers(row_array(rows));
            return py::array_t<std::uint32_t>(static_cast<py::ssize_t>(numbers.size()), numbers.data());
        },
        py::arg("rows"));
    module.def("words_only_size", device::words_only_size, py::arg("dim"));
    module.def("transform_digests_size", device::transform_digests_size, py::arg("stride"));
    return py::class_<Gpu>(module, "Planner")
        .def(py::init([](std::uint32_t multiprocessors, std::optional<std::uint64_t> scratch_bytes) {
                 return Gpu{scratch_bytes ? device::Processor{multiprocessors, *scratch_bytes}
                                          : device::Processor{multiprocessors}};
             }),
             py::arg("multiprocessors"), py::arg("scratch_bytes") = py::none())
        .def("words_only", words_only, py::arg("weights"), py::arg("rows"), py::arg("dim"), py::arg("seed"),
             py::arg("out"))
        .def("transform_digests", transform_digests, py::arg("stride"), py::arg("out"));
}

}  // namespace fastes::bindings
