// Pendulum: src/fastes/envs/pendulum.py once more, operation for operation, where the equations are stated.
#pragma once

#include "fastes/environments/decoding.hpp"
#include "fastes/environments/trigonometry.hpp"
#include "fastes/episodes.hpp"

namespace fastes {
inline namespace FASTES_ISA {

struct Pendulum {
    static constexpr EpisodeSizes sizes = pendulum_sizes;
    static constexpr double gravity_factor = 15.0, torque_factor = 3.0, max_speed = 8.0, interval = 0.05;
    static constexpr double turn = 2 * pi;
    static constexpr float max_torque = 2.0f, torque_cost = 0.001f;

    // The angle in [-pi, pi), exact.
    FASTES_INLINE static double wrapped(double theta) {
        const double shifted = theta + pi;
        const double turns = rounded_down(shifted / turn);
        const double remainder = fused(-turns, turn, shifted);
        // The quotient may have been rounded up to a whole number of turns.
        return (remainder < 0.0 ? fused(1.0 - turns, turn, shifted) : remainder) - pi;
    }

    // Steps theta, dtheta by what a policy has given; gives the reward. The torque's own terms are binary32.
    FASTES_INLINE static double move(double* state, const float* given, bool& ended) {
        const float u = clip(given[0], -max_torque, max_torque);
        const double theta = state[0], dtheta = state[1], angle = wrapped(theta);
        const float effort = torque_cost * (u * u);
        const double cost = angle * angle + 0.1 * (dtheta * dtheta) + static_cast<double>(effort);
        const float pull = static_cast<float>(torque_factor * static_cast<double>(u));
        const double faster = dtheta + (gravity_factor * sin_cos(theta).sine + static_cast<double>(pull)) * interval;
        state[1] = clip(faster, -max_speed, max_speed);
        state[0] = theta + state[1] * interval;
        ended = false;
        return -cost;
    }

    FASTES_INLINE static void see(const double* state, float* seen) {
        const SinCos of_theta = sin_cos(state[0]);
        seen[0] = static_cast<float>(of_theta.cosine);
        seen[1] = static_cast<float>(of_theta.sine);
        seen[2] = static_cast<float>(state[1]);
    }
};

}  // namespace FASTES_ISA
}  // namespace fastes
