#include <pybind11/stl.h>

#include <initializer_list>
#include <optional>

#include "backends.hpp"
#include "fastes/threads.hpp"

namespace fastes::bindings {
namespace {

struct InOut {
    const char* name;
    Array in, out;

    const float* from() const { return static_cast<const float*>(in.data); }
    float* to() const { return static_cast<float*>(out.data); }
};

// All of one length; each output is its own input or shares memory with nothing.
void check_arrays(std::initializer_list<const InOut*> arrays, const Array& weights, const Array& rows) {
    const std::uint64_t dim = (*arrays.begin())->in.size;
    for (const InOut* array : arrays) {
        const char* name = array->name;
        floats(array->in, name);
        same_length(array->in.size, name, dim, "theta");
        writeable_floats(array->out, name, dim);
        no_overlap({&array->out, name}, {&weights, "weights"});
        no_overlap({&array->out, name}, {&rows, "rows"});
        for (const InOut* other : arrays) {
            no_overlap({&array->out, name}, {&other->in, other->name}, array == other);
            if (array != other) no_overlap({&array->out, name}, {&other->out, other->name});
        }
    }
}

template <class Backend, class A = typename Backend::Array>
auto sgd_step(const Backend& backend, const A& theta, const std::optional<A>& momentum_buffer, const A& weights,
              const A& rows, const py::handle& seed, const py::handle& generation, const py::handle& stream,
              const py::handle& offset, const py::handle& kind, double lr, double momentum, bool nesterov, double l2,
              double decay, const A& theta_out, const std::optional<A>& momentum_out) {
    const Address at = address(seed, generation, stream, kind);
    const Array factors(weights), list(rows);
    const WeightedArray weighted = weighted_array(factors, list);
    const InOut thetas{"theta", theta, theta_out};
    SgdStep step{};
    if (momentum_buffer) {
        if (!momentum_out) throw py::value_error("momentum_out must be given with momentum_buffer.");
        const InOut buffers{"momentum_buffer", *momentum_buffer, *momentum_out};
        check_arrays({&thetas, &buffers}, factors, list);
        step.momentum_in = buffers.from();
        step.momentum_out = buffers.to();
    } else {
        check_arrays({&thetas}, factors, list);
    }
    const std::uint64_t dim = thetas.in.size, first = checked_offset(offset, dim);
    step.theta_in = thetas.from();
    step.theta_out = thetas.to();
    step.lr = narrowed(lr);
    step.momentum = narrowed(momentum);
    step.nesterov = nesterov;
    step.l2 = narrowed(l2);
    step.decay = narrowed(decay);
    return backend.sgd_step(at, weighted, first, dim, step);
}

template <class Backend, class A = typename Backend::Array>
auto adam_step(const Backend& backend, const A& theta, const A& m, const A& v, const A& weights, const A& rows,
               const py::handle& seed, const py::handle& generation, const py::handle& stream, const py::handle& offset,
               const py::handle& kind, double step_size, double beta1, double one_minus_beta1, double beta2,
               double one_minus_beta2, double v_scale, double epsilon, double l2, double decay, const A& theta_out,
               const A& m_out, const A& v_out) {
    const Address at = address(seed, generation, stream, kind);
    const Array factors(weights), list(rows);
    const WeightedArray weighted = weighted_array(factors, list);
    const InOut thetas{"theta", theta, theta_out}, ms{"m", m, m_out}, vs{"v", v, v_out};
    check_arrays({&thetas, &ms, &vs}, factors, list);
    const std::uint64_t dim = thetas.in.size, first = checked_offset(offset, dim);
    AdamStep step{};
    step.theta_in = thetas.from();
    step.m_in = ms.from();
    step.v_in = vs.from();
    step.theta_out = thetas.to();
    step.m_out = ms.to();
    step.v_out = vs.to();
    step.step = narrowed(step_size);
    step.beta1 = narrowed(beta1);
    step.one_minus_beta1 = narrowed(one_minus_beta1);
    step.beta2 = narrowed(beta2);
    step.one_minus_beta2 = narrowed(one_minus_beta2);
    step.v_scale = narrowed(v_scale);
    step.epsilon = narrowed(epsilon);
    step.l2 = narrowed(l2);
    step.decay = narrowed(decay);
    return backend.adam_step(at, weighted, first, dim, step);
}

template <class Backend, class A = typename Backend::Array>
auto clipup_step(const Backend& backend, const A& theta, const A& velocity, const A& weights, const A& rows,
                 const py::handle& seed, const py::handle& generation, const py::handle& stream,
                 const py::handle& offset, const py::handle& kind, double lr, double max_speed, double momentum,
                 double l2, double decay, const A& theta_out, const A& velocity_out) {
    const Address at = address(seed, generation, stream, kind);
    const Array factors(weights), list(rows);
    const WeightedArray weighted = weighted_array(factors, list);
    const InOut thetas{"theta", theta, theta_out}, velocities{"velocity", velocity, velocity_out};
    check_arrays({&thetas, &velocities}, factors, list);
    const std::uint64_t dim = thetas.in.size, first = checked_offset(offset, dim);
    ClipUpStep step{};
    step.theta_in = thetas.from();
    step.velocity_in = velocities.from();
    step.theta_out = thetas.to();
    step.velocity_out = velocities.to();
    step.lr = lr;
    step.momentum = momentum;
    step.max_speed = max_speed;
    step.l2 = narrowed(l2);
    step.decay = narrowed(decay);
    return backend.clipup_step(at, weighted, first, dim, step);
}

}  // namespace

void register_optimizers(Registry& both) {
    both.add("sgd_step", sgd_step<Cpu>, sgd_step<Gpu>, py::arg("theta"), py::arg("momentum_buffer").none(true),
             py::arg("weights"), py::arg("rows"), py::arg("seed"), py::arg("generation"), py::arg("stream"),
             py::arg("offset"), py::arg("kind"), py::kw_only(), py::arg("lr"), py::arg("momentum"), py::arg("nesterov"),
             py::arg("l2"), py::arg("decay"), py::arg("theta_out"), py::arg("momentum_out").none(true));
    both.add("adam_step", adam_step<Cpu>, adam_step<Gpu>, py::arg("theta"), py::arg("m"), py::arg("v"),
             py::arg("weights"), py::arg("rows"), py::arg("seed"), py::arg("generation"), py::arg("stream"),
             py::arg("offset"), py::arg("kind"), py::kw_only(), py::arg("step_size"), py::arg("beta1"),
             py::arg("one_minus_beta1"), py::arg("beta2"), py::arg("one_minus_beta2"), py::arg("v_scale"),
             py::arg("epsilon"), py::arg("l2"), py::arg("decay"), py::arg("theta_out"), py::arg("m_out"),
             py::arg("v_out"));
    both.add("clipup_step", clipup_step<Cpu>, clipup_step<Gpu>, py::arg("theta"), py::arg("velocity"),
             py::arg("weights"), py::arg("rows"), py::arg("seed"), py::arg("generation"), py::arg("stream"),
             py::arg("offset"), py::arg("kind"), py::kw_only(), py::arg("lr"), py::arg("max_speed"),
             py::arg("momentum"), py::arg("l2"), py::arg("decay"), py::arg("theta_out"), py::arg("velocity_out"));
}

}  // namespace fastes::bindings
