// ClipUp (Toklu, Liskowski and Srivastava 2020, arXiv 2008.02387, algorithm 1), in two passes over the parameters:
//
//     v = momentum v + lr d / |d|,  shortened to |v| = max_speed where it is longer;   theta = decay theta + v
//
// d = g - l2 theta points uphill. The first pass makes d and the sums of d d, d v and v v, from which both norms
// follow: |momentum v + a d|^2 = momentum^2 v v + 2 momentum a d v + a^2 d d.
#pragma once

#include <cstdint>

#include "fastes/address.hpp"
#include "fastes/steps.hpp"
#include "fastes/target.hpp"

namespace fastes {
inline namespace FASTES_ISA {

struct GradientUpdate {
    const ClipUpStep& step;
    std::uint64_t at;

    template <class V>
    FASTES_CALLABLE void operator()(std::int64_t position, typename V::f32 g) const {
        const std::uint64_t j = at + static_cast<std::uint64_t>(position);
        V::store(step.gradient + j, V::fma(V::set(-step.l2), V::load(step.theta_in + j), g));
    }
};

FASTES_CALLABLE inline double square_root(double x) {
#if defined(__CUDA_ARCH__)
    return __dsqrt_rn(x);
#else
    return __builtin_sqrt(x);  // an instruction: compiled without errno
#endif
}

inline constexpr int clipup_chains = 8;

FASTES_CALLABLE inline double joined(const double* chain) {
    return ((chain[0] + chain[4]) + (chain[2] + chain[6])) + ((chain[1] + chain[5]) + (chain[3] + chain[7]));
}

// Chains of additions in binary64, element j in chain j mod 8, joined as a tree; the products are exact.
inline double sum_of_products(const float* x, const float* y, std::uint64_t count) {
    double chain[clipup_chains] = {};
    std::uint64_t j = 0;
    for (; j + clipup_chains <= count; j += clipup_chains) {
        for (int c = 0; c < clipup_chains; ++c)
            chain[c] += static_cast<double>(x[j + c]) * static_cast<double>(y[j + c]);
    }
    for (int c = 0; j < count; ++j, ++c) chain[c] += static_cast<double>(x[j]) * static_cast<double>(y[j]);
    return joined(chain);
}

// The partial sums of the span, which begins at a multiple of clipup_block.
inline void sum_blocks(const Span& span, const ClipUpStep& step) {
    for (std::uint64_t j = span.at; j < span.at + span.count; j += clipup_block) {
        const std::uint64_t rest = span.at + span.count - j, count = rest < clipup_block ? rest : clipup_block;
        const float *d = step.gradient + j, *v = step.velocity_in + j;
        double* sums = step.sums + 3 * (j / clipup_block);
        sums[0] = sum_of_products(d, d, count);
        sums[1] = sum_of_products(d, v, count);
        sums[2] = sum_of_products(v, v, count);
    }
}

// What the step needs of the sums of d d, d v and v v. A gradient of zero, or one so short that lr / |d| is beyond
// float32, moves nothing but the old velocity.
FASTES_CALLABLE inline void find_scales(double dd, double dv, double vv, ClipUpStep& step) {
    const double wanted = step.lr / square_root(dd);
    const bool too_short = dd == 0.0 || wanted > static_cast<double>(0x1.fffffep127f);
    const double rate = too_short ? 0.0 : wanted;
    const double momentum = step.momentum;
    const double square = (momentum * momentum * vv + 2.0 * momentum * rate * dv) + rate * rate * dd;
    const double speed = square_root(square < 0.0 ? 0.0 : square);
    const double clip = speed > step.max_speed ? step.max_speed / speed : 1.0;
    step.clipped_momentum = static_cast<float>(clip * momentum);
    step.clipped_rate = static_cast<float>(clip * rate);
}

// Partial sums are added in order.
inline void find_scales(std::uint64_t blocks, ClipUpStep& step) {
    double dd = 0.0, dv = 0.0, vv = 0.0;
    for (std::uint64_t block = 0; block < blocks; ++block) {
        dd += step.sums[3 * block];
        dv += step.sums[3 * block + 1];
        vv += step.sums[3 * block + 2];
    }
    find_scales(dd, dv, vv, step);
}

struct ClipUpUpdate {
    const ClipUpStep& step;
    std::uint64_t at;

    template <class V>
    FASTES_CALLABLE void operator()(std::size_t position) const {
        const std::uint64_t j = at + position;
        const auto old = V::mul(V::set(step.clipped_momentum), V::load(step.velocity_in + j));
        const auto velocity = V::fma(V::set(step.clipped_rate), V::load(step.gradient + j), old);
        V::store(step.velocity_out + j, velocity);
        V::store(step.theta_out + j, V::add(V::mul(V::set(step.decay), V::load(step.theta_in + j)), velocity));
    }
};

}  // namespace FASTES_ISA
}  // namespace fastes
