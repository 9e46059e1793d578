#include <pybind11/stl.h>

#include <cmath>
#include <initializer_list>
#include <optional>
#include <vector>

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
void check_arrays(std::initializer_list<const InOut*> arrays, const std::vector<Named>& others) {
    const std::uint64_t dim = (*arrays.begin())->in.size;
    for (const InOut* array : arrays) {
        const char* name = array->name;
        floats(array->in, name);
        same_length(array->in.size, name, dim, "theta");
        writeable_floats(array->out, name, dim);
        for (const Named& other : others) no_overlap({&array->out, name}, other);
        for (const InOut* other : arrays) {
            no_overlap({&array->out, name}, {&other->in, other->name}, array == other);
            if (array != other) no_overlap({&array->out, name}, {&other->out, other->name});
        }
    }
}

// What a step reads beside the optimizer's arrays: weights and rows, or a gradient that is there.
using Others = std::vector<Named>;

template <class A>
SgdStep checked_sgd(const A& theta, const std::optional<A>& momentum_buffer, const Others& others, double lr,
                    double momentum, bool nesterov, double l2, double decay, const A& theta_out,
                    const std::optional<A>& momentum_out) {
    const InOut thetas{"theta", theta, theta_out};
    SgdStep step{};
    if (momentum_buffer) {
        if (!momentum_out) throw py::value_error("momentum_out must be given with momentum_buffer.");
        const InOut buffers{"momentum_buffer", *momentum_buffer, *momentum_out};
        check_arrays({&thetas, &buffers}, others);
        step.momentum_in = buffers.from();
        step.momentum_out = buffers.to();
    } else {
        check_arrays({&thetas}, others);
    }
    step.theta_in = thetas.from();
    step.theta_out = thetas.to();
    step.lr = narrowed(lr);
    step.momentum = narrowed(momentum);
    step.nesterov = nesterov;
    step.l2 = narrowed(l2);
    step.decay = narrowed(decay);
    return step;
}

template <class A>
AdamStep checked_adam(const A& theta, const A& m, const A& v, const Others& others, double step_size, double beta1,
                      double one_minus_beta1, double beta2, double one_minus_beta2, double v_scale, double epsilon,
                      double l2, double decay, const A& theta_out, const A& m_out, const A& v_out) {
    const InOut thetas{"theta", theta, theta_out}, ms{"m", m, m_out}, vs{"v", v, v_out};
    check_arrays({&thetas, &ms, &vs}, others);
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
    return step;
}

// A gradient that is there, as long as theta.
template <class A>
const float* checked_gradient(const Array& gradient, const A& theta) {
    const float* numbers = floats(gradient, "gradient");
    const Array thetas(theta);
    if (thetas.size == 0) throw py::value_error("theta must have at least 1 element.");
    same_length(gradient.size, "gradient", thetas.size, "theta");
    return numbers;
}

template <class Backend, class A = typename Backend::Array>
auto sgd_step(const Backend& backend, const A& theta, const std::optional<A>& momentum_buffer, const A& weights,
              const A& rows, const py::handle& seed, const py::handle& generation, const py::handle& stream,
              const py::handle& offset, const py::handle& kind, double lr, double momentum, bool nesterov, double l2,
              double decay, const A& theta_out, const std::optional<A>& momentum_out) {
    const Address at = address(seed, generation, stream, kind);
    const Array factors(weights), list(rows), thetas(theta);
    const WeightedArray weighted = weighted_array(factors, list);
    const SgdStep step = checked_sgd(theta, momentum_buffer, {{&factors, "weights"}, {&list, "rows"}}, lr, momentum,
                                     nesterov, l2, decay, theta_out, momentum_out);
    return backend.sgd_step(at, weighted, checked_offset(offset, thetas.size), thetas.size, step);
}

template <class Backend, class A = typename Backend::Array>
auto sgd_apply(const Backend& backend, const A& theta, const std::optional<A>& momentum_buffer, const A& gradient,
               double lr, double momentum, bool nesterov, double l2, double decay, const A& theta_out,
               const std::optional<A>& momentum_out) {
    const Array given(gradient);
    const float* uphill = checked_gradient(given, theta);
    const SgdStep step = checked_sgd(theta, momentum_buffer, {{&given, "gradient"}}, lr, momentum, nesterov, l2, decay,
                                     theta_out, momentum_out);
    return backend.sgd_apply(uphill, given.size, step);
}

template <class Backend, class A = typename Backend::Array>
auto adam_step(const Backend& backend, const A& theta, const A& m, const A& v, const A& weights, const A& rows,
               const py::handle& seed, const py::handle& generation, const py::handle& stream, const py::handle& offset,
               const py::handle& kind, double step_size, double beta1, double one_minus_beta1, double beta2,
               double one_minus_beta2, double v_scale, double epsilon, double l2, double decay, const A& theta_out,
               const A& m_out, const A& v_out) {
    const Address at = address(seed, generation, stream, kind);
    const Array factors(weights), list(rows), thetas(theta);
    const WeightedArray weighted = weighted_array(factors, list);
    const AdamStep step =
        checked_adam(theta, m, v, {{&factors, "weights"}, {&list, "rows"}}, step_size, beta1, one_minus_beta1, beta2,
                     one_minus_beta2, v_scale, epsilon, l2, decay, theta_out, m_out, v_out);
    return backend.adam_step(at, weighted, checked_offset(offset, thetas.size), thetas.size, step);
}

template <class Backend, class A = typename Backend::Array>
auto adam_apply(const Backend& backend, const A& theta, const A& m, const A& v, const A& gradient, double step_size,
                double beta1, double one_minus_beta1, double beta2, double one_minus_beta2, double v_scale,
                double epsilon, double l2, double decay, const A& theta_out, const A& m_out, const A& v_out) {
    const Array given(gradient);
    const float* uphill = checked_gradient(given, theta);
    const AdamStep step = checked_adam(theta, m, v, {{&given, "gradient"}}, step_size, beta1, one_minus_beta1, beta2,
                                       one_minus_beta2, v_scale, epsilon, l2, decay, theta_out, m_out, v_out);
    return backend.adam_apply(uphill, given.size, step);
}

template <class Backend, class A = typename Backend::Array>
auto snes_step(const Backend& backend, const A& theta, const A& sigma, const A& weights, const A& rows,
               const py::handle& seed, const py::handle& generation, const py::handle& stream, const py::handle& offset,
               const py::handle& kind, double lr, double half_lr_sigma, const A& theta_out, const A& sigma_out) {
    const Address at = address(seed, generation, stream, kind);
    const Array factors(weights), list(rows);
    const WeightedArray weighted = weighted_array(factors, list);
    const InOut thetas{"theta", theta, theta_out}, sigmas{"sigma", sigma, sigma_out};
    check_arrays({&thetas, &sigmas}, {{&factors, "weights"}, {&list, "rows"}});
    SnesStep step{};
    step.theta_in = thetas.from();
    step.sigma_in = sigmas.from();
    step.theta_out = thetas.to();
    step.sigma_out = sigmas.to();
    step.lr = narrowed(lr);
    step.half_lr_sigma = narrowed(half_lr_sigma);
    if (!std::isfinite(step.half_lr_sigma)) throw py::value_error("lr_sigma must be a finite float32.");
    return backend.snes_step(at, weighted, checked_offset(offset, thetas.in.size), thetas.in.size, step);
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
    check_arrays({&thetas, &velocities}, {{&factors, "weights"}, {&list, "rows"}});
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

// [B][3] of partial sums.
double* partial_sums(const py::array& sums, bool is_written) {
    if (!py::isinstance<py::array_t<double>>(sums) || (sums.flags() & py::array::c_style) == 0)
        throw py::type_error("sums must be a C-contiguous float64 array.");
    if (sums.ndim() != 2 || sums.shape(1) != 3) throw py::value_error("sums must have shape [blocks, 3].");
    return static_cast<double*>(is_written ? py::array(sums).mutable_data() : const_cast<void*>(sums.data()));
}

// What the first half of clipup_step makes of a part of theta: the gradient and the partial sums of its blocks.
ClipUpStep checked_sums(const py::array& theta, const py::array& velocity, double l2, const Array& gradient,
                        const py::array& sums) {
    const Array thetas(theta), velocities(velocity);
    ClipUpStep step{};
    step.theta_in = floats(thetas, "theta");
    step.velocity_in = floats(velocities, "velocity");
    const std::uint64_t dim = thetas.size;
    same_length(velocities.size, "velocity", dim, "theta");
    step.gradient = writeable_floats(gradient, "gradient", dim);
    no_overlap({&gradient, "gradient"}, {&thetas, "theta"});
    no_overlap({&gradient, "gradient"}, {&velocities, "velocity"});
    step.sums = partial_sums(sums, true);
    same_length(static_cast<std::size_t>(sums.shape(0)), "sums", clipup_blocks(dim), "the blocks of theta");
    step.l2 = narrowed(l2);
    return step;
}

// The halves of clipup_step, between which the partial sums of other parts are fetched from where they are.
void clipup_gradient(const py::array& theta, const py::array& velocity, const py::array& weights, const py::array& rows,
                     const py::handle& seed, const py::handle& generation, const py::handle& stream,
                     const py::handle& offset, const py::handle& kind, double l2, const py::array& gradient,
                     const py::array& sums) {
    const Address at = address(seed, generation, stream, kind);
    const Array thetas(theta), gradients(gradient), factors(weights), list(rows);
    const WeightedArray weighted = weighted_array(factors, list);
    const std::uint64_t dim = thetas.size, first = checked_offset(offset, dim);
    const ClipUpStep step = checked_sums(theta, velocity, l2, gradients, sums);
    Cpu{}.clipup_gradient(at, weighted, first, dim, step);
}

// The first half where the sum is there already.
void clipup_sums(const py::array& theta, const py::array& velocity, const py::array& gradient, double l2,
                 const py::array& gradient_out, const py::array& sums) {
    const Array given(gradient), gradients(gradient_out);
    const float* uphill = checked_gradient(given, theta);
    const ClipUpStep step = checked_sums(theta, velocity, l2, gradients, sums);
    no_overlap({&gradients, "gradient_out"}, {&given, "gradient"}, true);
    Cpu{}.clipup_sums(uphill, given.size, step);
}

void clipup_apply(const py::array& theta, const py::array& velocity, const py::array& gradient, const py::array& sums,
                  double lr, double max_speed, double momentum, double decay, const py::array& theta_out,
                  const py::array& velocity_out) {
    const Array gradients(gradient);
    const InOut thetas{"theta", theta, theta_out}, velocities{"velocity", velocity, velocity_out};
    check_arrays({&thetas, &velocities}, {{&gradients, "gradient"}});
    const std::uint64_t dim = thetas.in.size;
    ClipUpStep step{};
    step.gradient = const_cast<float*>(floats(gradients, "gradient"));  // only read
    same_length(gradients.size, "gradient", dim, "theta");
    step.sums = partial_sums(sums, false);
    step.theta_in = thetas.from();
    step.velocity_in = velocities.from();
    step.theta_out = thetas.to();
    step.velocity_out = velocities.to();
    step.lr = lr;
    step.momentum = momentum;
    step.max_speed = max_speed;
    step.decay = narrowed(decay);
    const py::gil_scoped_release released;
    fastes::clipup_apply(dim, static_cast<std::uint64_t>(sums.shape(0)), step);
}

}  // namespace

void register_optimizers(py::module_& module, Registry& both) {
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
    both.add("snes_step", snes_step<Cpu>, snes_step<Gpu>, py::arg("theta"), py::arg("sigma"), py::arg("weights"),
             py::arg("rows"), py::arg("seed"), py::arg("generation"), py::arg("stream"), py::arg("offset"),
             py::arg("kind"), py::kw_only(), py::arg("lr"), py::arg("half_lr_sigma"), py::arg("theta_out"),
             py::arg("sigma_out"));
    both.add("sgd_apply", sgd_apply<Cpu>, sgd_apply<Gpu>, py::arg("theta"), py::arg("momentum_buffer").none(true),
             py::arg("gradient"), py::kw_only(), py::arg("lr"), py::arg("momentum"), py::arg("nesterov"), py::arg("l2"),
             py::arg("decay"), py::arg("theta_out"), py::arg("momentum_out").none(true));
    both.add("adam_apply", adam_apply<Cpu>, adam_apply<Gpu>, py::arg("theta"), py::arg("m"), py::arg("v"),
             py::arg("gradient"), py::kw_only(), py::arg("step_size"), py::arg("beta1"), py::arg("one_minus_beta1"),
             py::arg("beta2"), py::arg("one_minus_beta2"), py::arg("v_scale"), py::arg("epsilon"), py::arg("l2"),
             py::arg("decay"), py::arg("theta_out"), py::arg("m_out"), py::arg("v_out"));
    both.add("clipup_step", clipup_step<Cpu>, clipup_step<Gpu>, py::arg("theta"), py::arg("velocity"),
             py::arg("weights"), py::arg("rows"), py::arg("seed"), py::arg("generation"), py::arg("stream"),
             py::arg("offset"), py::arg("kind"), py::kw_only(), py::arg("lr"), py::arg("max_speed"),
             py::arg("momentum"), py::arg("l2"), py::arg("decay"), py::arg("theta_out"), py::arg("velocity_out"));
    module.attr("CLIPUP_BLOCK") = clipup_block;
    module.def("clipup_gradient", clipup_gradient, py::arg("theta"), py::arg("velocity"), py::arg("weights"),
               py::arg("rows"), py::arg("seed"), py::arg("generation"), py::arg("stream"), py::arg("offset"),
               py::arg("kind"), py::kw_only(), py::arg("l2"), py::arg("gradient"), py::arg("sums"));
    module.def("clipup_sums", clipup_sums, py::arg("theta"), py::arg("velocity"), py::arg("gradient"), py::kw_only(),
               py::arg("l2"), py::arg("gradient_out"), py::arg("sums"));
    module.def("clipup_apply", clipup_apply, py::arg("theta"), py::arg("velocity"), py::arg("gradient"),
               py::arg("sums"), py::kw_only(), py::arg("lr"), py::arg("max_speed"), py::arg("momentum"),
               py::arg("decay"), py::arg("theta_out"), py::arg("velocity_out"));
}

}  // namespace fastes::bindings
