// Steps of environments: every instruction set and the simulated GPU give the bits of the scalar kernel. That those are
// the bits of the compiled environments is for the Python tests, which have these.
#include "tests.hpp"

namespace fastes::tests {
namespace {

constexpr std::int32_t max_steps = 50;

// n episodes with marks around each array, some of them over.
struct Arrays {
    EpisodeSizes sizes;
    std::size_t n;
    Guarded<double> state, rewards, returns;
    Guarded<float> observations;
    Guarded<std::int32_t> steps;
    Guarded<unsigned char> terminated, active;

    Arrays(const EpisodeSizes& sizes_, std::size_t count)
        : sizes(sizes_),
          n(count),
          state(count * sizes.states),
          rewards(count),
          returns(count),
          observations(count * sizes.observed),
          steps(count),
          terminated(count),
          active(count) {
        for (std::size_t i = 0; i < count * sizes.states; ++i) state.data()[i] = 0.02 * static_cast<double>(ramp(i));
        for (std::size_t i = 0; i < count; ++i) {
            steps.data()[i] = static_cast<std::int32_t>(i % 7);
            active.data()[i] = i % 5 != 3;
        }
    }

    EpisodeStep step(const float* outputs) {
        return {n,
                max_steps,
                outputs,
                state.data(),
                observations.data(),
                rewards.data(),
                returns.data(),
                steps.data(),
                reinterpret_cast<bool*>(terminated.data()),
                reinterpret_cast<bool*>(active.data())};
    }

    bool operator==(const Arrays& other) const {
        return state.values() == other.state.values() && rewards.values() == other.rewards.values() &&
               returns.values() == other.returns.values() && observations.values() == other.observations.values() &&
               steps.values() == other.steps.values() && terminated.values() == other.terminated.values() &&
               active.values() == other.active.values();
    }
};

// 60 steps, longer than any episode.
template <class Step>
Arrays played(const EpisodeSizes& sizes, std::size_t n, const Step& step) {
    Arrays arrays(sizes, n);
    for (std::size_t at = 0; at < 60; ++at) {
        std::vector<float> outputs(n * sizes.outputs);
        for (std::size_t i = 0; i < outputs.size(); ++i) outputs[i] = ramp(at * outputs.size() + i);
        step(arrays.step(outputs.data()));
    }
    return arrays;
}

}  // namespace

void test_episodes() {
    for (const Dynamics dynamics : {Dynamics::cartpole, Dynamics::pendulum}) {
        const EpisodeSizes& sizes = dynamics == Dynamics::cartpole ? cartpole_sizes : pendulum_sizes;
        for (const std::size_t n : {1u, 7u, 255u, 256u, 257u, 1031u}) {
            const std::string what = std::to_string(n) + " episodes of " + std::to_string(sizes.states) + " numbers";
            target = {};
            const Arrays expected = played(sizes, n, [&](const EpisodeStep& step) {
                scalar_kernels.environment_step(dynamics, step, 0, step.count);
            });
            const auto active = expected.active.values();
            CHECK(std::count(active.begin(), active.end(), 1) == 0, "some episodes go on: " + what);
            for (const auto& isa : isas_usable()) {
                select_isa(isa);
                CHECK(expected == played(sizes, n,
                                         [&](const EpisodeStep& step) {
                                             kernels().environment_step(dynamics, step, n / 3, step.count);
                                             kernels().environment_step(dynamics, step, 0, n / 3);
                                         }),
                      what + " on " + isa);
            }
            for (const bool aligned : {true, false}) {
                target = {device::Processor{100}, aligned, 1};
                CHECK(expected ==
                          played(sizes, n,
                                 [&](const EpisodeStep& step) { carry_out(device::environment_step(dynamics, step)); }),
                      what + (aligned ? " on a GPU" : " on a GPU, unaligned"));
            }
            target = {};
        }
    }
}

}  // namespace fastes::tests
