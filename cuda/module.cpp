#include <pybind11/pybind11.h>
#include <pybind11/stl.h>
#include <pybind11/typing.h>

#include <cstring>
#include <string_view>
#include <tuple>

#include "launcher.hpp"

namespace py = pybind11;

namespace fastes::cuda {
namespace {

using Given = std::tuple<std::string, std::uint32_t, std::uint32_t, std::uint32_t, py::bytes>;

void launch_given(int device, std::uintptr_t stream, const std::vector<Given>& given) {
    std::vector<fastes::device::Launch> launches;
    launches.reserve(given.size());
    for (const auto& [kernel, grid_x, grid_y, threads, bytes] : given) {
        const std::string_view view = bytes;
        const auto* data = reinterpret_cast<const std::byte*>(view.data());
        launches.push_back({kernel, grid_x, grid_y, threads, {data, data + view.size()}});
    }
    const py::gil_scoped_release unlocked;
    launch(device, stream, launches);
}

py::typing::Dict<py::str, py::object> properties_of(int device) {
    const Properties properties = [&] {
        const py::gil_scoped_release unlocked;
        return device_properties(device);
    }();
    py::typing::Dict<py::str, py::object> result;
    result["name"] = properties.name;
    result["compute_capability"] = properties.compute_capability;
    result["multiprocessors"] = properties.multiprocessors;
    result["memory_bytes"] = properties.memory_bytes;
    return result;
}

}  // namespace
}  // namespace fastes::cuda

PYBIND11_MODULE(_cuda, module) {
    using namespace fastes::cuda;
    using unlocked = py::call_guard<py::gil_scoped_release>;
    module.doc() = "Kernels of fastes for GPUs, and their launches. Use them through fastes.kernels.";
    module.def("launch", launch_given, py::arg("device"), py::arg("stream"), py::arg("launches"));
    module.def("device_count", device_count, unlocked());
    module.def("device_properties", properties_of, py::arg("device"));
    module.def("pointer_device", pointer_device, py::arg("pointer"), unlocked());
    module.def("problem", problem, py::arg("device"), unlocked());
    module.def("describe", describe);
    module.def("driver_version", driver_version, unlocked());
}
