// Optimizer steps on one vector of elements. The gradient is d = -g + l2 theta: g points uphill, optimizers go
// downhill.
#pragma once

#include <cstdint>

#include "fastes/steps.hpp"
#include "fastes/target.hpp"

namespace fastes {
inline namespace FASTES_ISA {

// Stochastic gradient descent with momentum (Polyak 1964), and Nesterov's variant as in Sutskever et al. 2013:
//     b = mu b + d;   theta = decay theta - lr b,   or with Nesterov   theta = decay theta - lr (d + mu b)
struct SgdUpdate {
    const SgdStep& step;
    std::uint64_t at;

    template <class V>
    FASTES_CALLABLE void operator()(std::int64_t position, typename V::f32 g) const {
        const std::uint64_t j = at + static_cast<std::uint64_t>(position);
        const auto theta = V::load(step.theta_in + j);
        const auto gradient = V::fma(V::set(step.l2), theta, V::neg(g));
        auto direction = gradient;
        if (step.momentum_in != nullptr) {
            const auto buffer = V::fma(V::set(step.momentum), V::load(step.momentum_in + j), gradient);
            V::store(step.momentum_out + j, buffer);
            direction = step.nesterov ? V::fma(V::set(step.momentum), buffer, gradient) : buffer;
        }
        V::store(step.theta_out + j, V::fma(V::set(-step.lr), direction, V::mul(theta, V::set(step.decay))));
    }
};

// Adam (Kingma and Ba 2015, algorithm 1); AdamW (Loshchilov and Hutter 2019, algorithm 2) through `decay`:
//     m = beta1 m + (1 - beta1) d;   v = beta2 v + (1 - beta2) d^2
//     theta = decay theta - step m / (v_scale sqrt(v) + epsilon)
struct AdamUpdate {
    const AdamStep& step;
    std::uint64_t at;

    template <class V>
    FASTES_CALLABLE void operator()(std::int64_t position, typename V::f32 g) const {
        const std::uint64_t j = at + static_cast<std::uint64_t>(position);
        const auto theta = V::load(step.theta_in + j);
        const auto gradient = V::fma(V::set(step.l2), theta, V::neg(g));
        const auto m =
            V::fma(V::set(step.beta1), V::load(step.m_in + j), V::mul(V::set(step.one_minus_beta1), gradient));
        const auto v = V::fma(V::set(step.beta2), V::load(step.v_in + j),
                              V::mul(V::mul(V::set(step.one_minus_beta2), gradient), gradient));
        const auto denominator = V::fma(V::sqrt(v), V::set(step.v_scale), V::set(step.epsilon));
        V::store(step.m_out + j, m);
        V::store(step.v_out + j, v);
        V::store(step.theta_out + j,
                 V::fma(V::set(-step.step), V::div(m, denominator), V::mul(theta, V::set(step.decay))));
    }
};

}  // namespace FASTES_ISA
}  // namespace fastes
