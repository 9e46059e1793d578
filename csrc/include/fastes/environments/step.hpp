// One step of one episode: its action from the policy's outputs, the dynamics, and the account of it.
#pragma once

#include "fastes/environments/cartpole.hpp"
#include "fastes/environments/pendulum.hpp"

namespace fastes {
inline namespace FASTES_ISA {

// store(to, seen) writes an observation. An episode that is not active stays as it is.
template <class D, class Store>
FASTES_INLINE void step_episode(const EpisodeStep& step, std::uint64_t i, const Store& store) {
    if (!step.active[i]) return;
    double state[D::sizes.states];
    float seen[D::sizes.observed];
    bool ended;
    for (std::size_t k = 0; k < D::sizes.states; ++k) state[k] = step.state[k * step.count + i];
    const double reward = D::move(state, step.outputs + i * D::sizes.outputs, ended);
    for (std::size_t k = 0; k < D::sizes.states; ++k) step.state[k * step.count + i] = state[k];
    D::see(state, seen);
    store(step.observations + i * D::sizes.observed, seen);
    const std::int32_t taken = step.steps[i] + 1;
    step.steps[i] = taken;
    step.rewards[i] = reward;
    step.returns[i] += reward;
    step.terminated[i] = ended;
    step.active[i] = !ended && taken < step.max_steps;
}

}  // namespace FASTES_ISA
}  // namespace fastes
