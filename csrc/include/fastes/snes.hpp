// Separable natural evolution strategies (Wierstra et al., JMLR 15, 2014, section 3.5 and algorithm 6), on one vector
// of elements. With g_j = sum_k u_k eps_kj and h_j = sum_k u_k (eps_kj^2 - 1), u the utilities:
//
//     theta = theta + lr sigma g;   sigma = sigma exp(lr_sigma / 2 h)
//
// theta's new value is made of the old sigma, so it comes first.
#pragma once

#include <cstdint>

#include "fastes/exponential.hpp"
#include "fastes/steps.hpp"
#include "fastes/target.hpp"

namespace fastes {
inline namespace FASTES_ISA {

struct SnesMean {
    const SnesStep& step;
    std::uint64_t at;

    template <class V>
    FASTES_CALLABLE void operator()(std::int64_t position, typename V::f32 g) const {
        const std::uint64_t j = at + static_cast<std::uint64_t>(position);
        const auto rate = V::mul(V::set(step.lr), V::load(step.sigma_in + j));
        V::store(step.theta_out + j, V::fma(rate, g, V::load(step.theta_in + j)));
    }
};

// Smallest normal and largest finite float: what sigma is kept between.
inline constexpr float smallest_sigma = 0x1p-126f, largest_sigma = 0x1.fffffep127f;

struct SnesSpread {
    const SnesStep& step;
    std::uint64_t at;

    template <class V>
    FASTES_CALLABLE void operator()(std::int64_t position, typename V::f32 h) const {
        const std::uint64_t j = at + static_cast<std::uint64_t>(position);
        const auto sigma = V::load(step.sigma_in + j);
        const auto factor = clamped_exponential<V>(V::mul(V::set(step.half_lr_sigma), h));
        const auto kept = at_least<V>(at_most<V>(V::mul(sigma, factor), largest_sigma), smallest_sigma);
        // A NaN where h or sigma is not finite: limits would hide it, each instruction set another one.
        V::store(step.sigma_out + j, V::fma(sigma, V::set(0.0f), V::fma(h, V::set(0.0f), kept)));
    }
};

}  // namespace FASTES_ISA
}  // namespace fastes
