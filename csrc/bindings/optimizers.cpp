#include <pybind11/stl.h>

#include <initializer_list>
#include <optional>

#include "arguments.hpp"
#include "fastes/dispatch.hpp"
#include "fastes/passes.hpp"
#include "fastes/threads.hpp"

namespace fastes::bindings {
namespace {

struct InOut {
    const char* name;
    const py::array* in;
    py::array* out;
};

// All of one length; each output is its own input or shares memory with nothing.
void check_arrays(std::initializer_list<InOut> arrays, const py::array& weights, const py::array& rows) {
    const auto dim = static_cast<std::uint64_t>(arrays.begin()->in->size());
    for (const auto& array : arrays) {
        floats(*array.in, array.name);
        same_length(static_cast<std::size_t>(array.in->size()), array.name, dim, "theta");
        writeable_floats(*array.out, array.name, dim);
        no_overlap(*array.out, array.name, weights, "weights");
        no_overlap(*array.out, array.name, rows, "rows");
        for (const auto& other : arrays) {
            no_overlap(*array.out, array.name, *other.in, other.name, &array == &other);
            if (&array != &other) no_overlap(*array.out, array.name, *other.out, other.name);
        }
    }
}

void sgd_step(const py::array& theta, const std::optional<py::array>& momentum_buffer, const py::array& weights,
              const py::array& rows, const py::handle& seed, const py::handle& generation, const py::handle& stream,
              const py::handle& offset, const py::handle& kind, double lr, double momentum, bool nesterov, double l2,
              double decay, py::array theta_out, std::optional<py::array> momentum_out) {
    const Address at = address(seed, generation, stream, kind);
    const RowsAndWeights weighted(at, weights, rows);
    if (momentum_buffer) {
        if (!momentum_out) throw py::value_error("momentum_out must be given with momentum_buffer.");
        check_arrays({{"theta", &theta, &theta_out}, {"momentum_buffer", &*momentum_buffer, &*momentum_out}}, weights,
                     rows);
    } else {
        check_arrays({{"theta", &theta, &theta_out}}, weights, rows);
    }
    const auto dim = static_cast<std::uint64_t>(theta.size());
    const std::uint64_t first = checked_offset(offset, dim);
    SgdStep step{};
    step.theta_in = static_cast<const float*>(theta.data());
    step.theta_out = static_cast<float*>(theta_out.mutable_data());
    if (momentum_buffer) {
        step.momentum_in = static_cast<const float*>(momentum_buffer->data());
        step.momentum_out = static_cast<float*>(momentum_out->mutable_data());
    }
    step.lr = narrowed(lr);
    step.momentum = narrowed(momentum);
    step.nesterov = nesterov;
    step.l2 = narrowed(l2);
    step.decay = narrowed(decay);
    const KernelTable& table = kernels();
    const py::gil_scoped_release released;
    for_spans(first, dim, weighted.work(dim),
              [&](const Span& span) { table.sgd_step(at, weighted.view(), span, step); });
}

void adam_step(const py::array& theta, const py::array& m, const py::array& v, const py::array& weights,
               const py::array& rows, const py::handle& seed, const py::handle& generation, const py::handle& stream,
               const py::handle& offset, const py::handle& kind, double step_size, double beta1, double one_minus_beta1,
               double beta2, double one_minus_beta2, double v_scale, double epsilon, double l2, double decay,
               py::array theta_out, py::array m_out, py::array v_out) {
    const Address at = address(seed, generation, stream, kind);
    const RowsAndWeights weighted(at, weights, rows);
    check_arrays({{"theta", &theta, &theta_out}, {"m", &m, &m_out}, {"v", &v, &v_out}}, weights, rows);
    const auto dim = static_cast<std::uint64_t>(theta.size());
    const std::uint64_t first = checked_offset(offset, dim);
    AdamStep step{};
    step.theta_in = static_cast<const float*>(theta.data());
    step.m_in = static_cast<const float*>(m.data());
    step.v_in = static_cast<const float*>(v.data());
    step.theta_out = static_cast<float*>(theta_out.mutable_data());
    step.m_out = static_cast<float*>(m_out.mutable_data());
    step.v_out = static_cast<float*>(v_out.mutable_data());
    step.step = narrowed(step_size);
    step.beta1 = narrowed(beta1);
    step.one_minus_beta1 = narrowed(one_minus_beta1);
    step.beta2 = narrowed(beta2);
    step.one_minus_beta2 = narrowed(one_minus_beta2);
    step.v_scale = narrowed(v_scale);
    step.epsilon = narrowed(epsilon);
    step.l2 = narrowed(l2);
    step.decay = narrowed(decay);
    const KernelTable& table = kernels();
    const py::gil_scoped_release released;
    for_spans(first, dim, weighted.work(dim),
              [&](const Span& span) { table.adam_step(at, weighted.view(), span, step); });
}

void clipup_step(const py::array& theta, const py::array& velocity, const py::array& weights, const py::array& rows,
                 const py::handle& seed, const py::handle& generation, const py::handle& stream,
                 const py::handle& offset, const py::handle& kind, double lr, double max_speed, double momentum,
                 double l2, double decay, py::array theta_out, py::array velocity_out) {
    const Address at = address(seed, generation, stream, kind);
    const RowsAndWeights weighted(at, weights, rows);
    check_arrays({{"theta", &theta, &theta_out}, {"velocity", &velocity, &velocity_out}}, weights, rows);
    const auto dim = static_cast<std::uint64_t>(theta.size());
    const std::uint64_t first = checked_offset(offset, dim);
    ClipUpStep step{};
    step.theta_in = static_cast<const float*>(theta.data());
    step.velocity_in = static_cast<const float*>(velocity.data());
    step.theta_out = static_cast<float*>(theta_out.mutable_data());
    step.velocity_out = static_cast<float*>(velocity_out.mutable_data());
    step.lr = lr;
    step.momentum = momentum;
    step.max_speed = max_speed;
    step.l2 = narrowed(l2);
    step.decay = narrowed(decay);
    const py::gil_scoped_release released;
    fastes::clipup_step(at, weighted.view(), first, dim, step);
}

}  // namespace

void register_optimizers(py::module_& module) {
    module.def("sgd_step", sgd_step, py::arg("theta"), py::arg("momentum_buffer").none(true), py::arg("weights"),
               py::arg("rows"), py::arg("seed"), py::arg("generation"), py::arg("stream"), py::arg("offset"),
               py::arg("kind"), py::kw_only(), py::arg("lr"), py::arg("momentum"), py::arg("nesterov"), py::arg("l2"),
               py::arg("decay"), py::arg("theta_out"), py::arg("momentum_out").none(true));
    module.def("adam_step", adam_step, py::arg("theta"), py::arg("m"), py::arg("v"), py::arg("weights"),
               py::arg("rows"), py::arg("seed"), py::arg("generation"), py::arg("stream"), py::arg("offset"),
               py::arg("kind"), py::kw_only(), py::arg("step_size"), py::arg("beta1"), py::arg("one_minus_beta1"),
               py::arg("beta2"), py::arg("one_minus_beta2"), py::arg("v_scale"), py::arg("epsilon"), py::arg("l2"),
               py::arg("decay"), py::arg("theta_out"), py::arg("m_out"), py::arg("v_out"));
    module.def("clipup_step", clipup_step, py::arg("theta"), py::arg("velocity"), py::arg("weights"), py::arg("rows"),
               py::arg("seed"), py::arg("generation"), py::arg("stream"), py::arg("offset"), py::arg("kind"),
               py::kw_only(), py::arg("lr"), py::arg("max_speed"), py::arg("momentum"), py::arg("l2"), py::arg("decay"),
               py::arg("theta_out"), py::arg("velocity_out"));
}

}  // namespace fastes::bindings
