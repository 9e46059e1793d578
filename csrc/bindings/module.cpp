#include <pybind11/stl.h>

#include "backends.hpp"
#include "fastes/dispatch.hpp"
#include "fastes/threads.hpp"

namespace fastes::bindings {

void register_info(py::module_& module) {
    module.attr("NOISE_SPEC") = noise_spec;
    module.attr("MAX_ELEMENTS") = max_elements;
    module.def("isa", [] { return std::string(kernels().name); });
    module.def("isas_built", isas_built);
    module.def("isas_usable", isas_usable);
    module.def("select_isa", select_isa, py::arg("name"));
    module.def("num_threads", num_threads);
    module.def("set_num_threads", set_num_threads, py::arg("threads"));
}

}  // namespace fastes::bindings

PYBIND11_MODULE(_core, module) {
    module.doc() = "Compiled CPU kernels of fastes. Use them through fastes.kernels.";
    pybind11::class_<fastes::bindings::Gpu> planner = fastes::bindings::register_plans(module);
    fastes::bindings::Registry both(module, planner);
    fastes::bindings::register_environments(both);
    fastes::bindings::register_info(module);
    fastes::bindings::register_low_rank(both);
    fastes::bindings::register_mlp(module);
    fastes::bindings::register_noise(module, both);
    fastes::bindings::register_optimizers(module, both);
    fastes::bindings::register_rollout(module);
}
