// Episodes of an environment of ours that are stepped together, wherever their memory is: plain data.
#pragma once

#include <cstddef>
#include <cstdint>

namespace fastes {

enum class Dynamics { cartpole, pendulum };

// Numbers of state, of an observation, and of what a policy gives.
struct EpisodeSizes {
    std::size_t states, observed, outputs;
};

inline constexpr EpisodeSizes cartpole_sizes{4, 4, 2}, pendulum_sizes{2, 3, 1};

// One step of n episodes, those that are not active staying as they are. S, O and A are the sizes.
struct EpisodeStep {
    std::uint64_t count;     // n
    std::int32_t max_steps;  // after which an episode ends
    const float* outputs;    // [n][A]
    double* state;           // [S][n]: neighbours in a GPU's memory are of neighbouring threads
    float* observations;     // [n][O]
    double* rewards;         // [n], of the last step
    double* returns;         // [n], rewards summed in order
    std::int32_t* steps;     // [n]
    bool* terminated;        // [n], which have ended by themselves
    bool* active;            // [n]
};

}  // namespace fastes
