// CartPole: src/fastes/envs/cartpole.py once more, operation for operation, where the equations are stated.
#pragma once

#include "fastes/environments/decoding.hpp"
#include "fastes/environments/trigonometry.hpp"
#include "fastes/episodes.hpp"

namespace fastes {
inline namespace FASTES_ISA {

struct CartPole {
    static constexpr EpisodeSizes sizes = cartpole_sizes;
    static constexpr double gravity = 9.8, pole_mass = 0.1, total_mass = 1.1, half_length = 0.5;
    static constexpr double pole_moment = pole_mass * half_length, force = 10.0, interval = 0.02;
    static constexpr double max_x = 2.4, max_theta = 12 * 2 * pi / 360;

    // Steps x, dx, theta, dtheta by what a policy has given; gives the reward.
    FASTES_INLINE static double move(double* state, const float* given, bool& ended) {
        const double pushed = argmax(given, sizes.outputs) == 1 ? force : -force;
        double x = state[0], dx = state[1], theta = state[2], dtheta = state[3];
        const SinCos of_theta = sin_cos_near(theta);
        const double sine = of_theta.sine, cosine = of_theta.cosine;
        const double push = (pushed + pole_moment * (dtheta * dtheta) * sine) / total_mass;
        const double ddtheta =
            (gravity * sine - cosine * push) / (half_length * (4.0 / 3.0 - pole_mass * (cosine * cosine) / total_mass));
        const double ddx = push - pole_moment * ddtheta * cosine / total_mass;
        x = x + interval * dx;
        dx = dx + interval * ddx;
        theta = theta + interval * dtheta;
        dtheta = dtheta + interval * ddtheta;
        state[0] = x, state[1] = dx, state[2] = theta, state[3] = dtheta;
        ended = x < -max_x || x > max_x || theta < -max_theta || theta > max_theta;
        return 1.0;
    }

    FASTES_INLINE static void see(const double* state, float* seen) {
        for (std::size_t k = 0; k < sizes.observed; ++k) seen[k] = static_cast<float>(state[k]);
    }
};

}  // namespace FASTES_ISA
}  // namespace fastes
