// Whole episodes of compiled environments, played by multilayer perceptrons.
//
// An episode knows nothing of the others, so they may be played in any order: the results are those of one forward for
// all and one step for all, again and again.
#pragma once

#include <cstddef>
#include <cstdint>

#include "fastes/kernel_table.hpp"

namespace fastes {

// n episodes, those of a member side by side. An environment's step reads and writes them in this order.
struct Episodes {
    double* state;                 // [n][state_size]
    void* actions;                 // int64 [n], or float [n][size]
    bool* active;                  // [n]
    std::uint32_t* steps;          // [n]
    float* observations;           // [n][observation_size]
    double* rewards;               // [n], of the last step
    bool *terminated, *truncated;  // [n]
    double* returns;               // [n]
    std::int64_t* lanes;           // scratch memory
    double* work;
};

struct Environment {
    // One step of every active episode; gives the number of those still active, which none is after max_steps.
    std::int64_t (*step)(const Episodes*, std::int64_t count, std::int64_t max_steps);
    std::size_t state_size, observation_size;
    std::size_t lanes, work;  // elements of scratch memory
    std::int64_t max_steps;
};

// What a policy sees of an observation o: o, or (o - mean) scale, then at most `clip` and at least -clip.
struct Sight {
    const float *mean, *scale;  // [observation_size], or none
    float clip;                 // 0: not clipped

    bool plain() const { return mean == nullptr && !(clip > 0.0f); }
};

// What a policy's outputs mean: the number of the largest, or each clipped to its bounds.
struct Decoding {
    std::size_t outputs;
    const float *low, *high;  // [outputs], or none
};

// Sums of the observations that were acted on and of their squares, of the episodes that are sampled.
struct Moments {
    const bool* sampled;       // [n], or none
    double *totals, *squares;  // [n][observation_size]
};

struct Players {
    MlpShape shape;
    const float* packed;  // [members][packed_floats]
    std::uint64_t packed_floats;
    std::size_t batch;  // episodes of a member
};

void see(const Sight& sight, const float* observation, std::size_t size, float* seen);

// Plays every active one of n episodes to its end, on up to num_threads() threads; gives the steps taken. actions,
// lanes and work of `episodes` are not used.
std::uint64_t play(const Players& players, const Environment& environment, const Sight& sight, const Decoding& decoding,
                   const Moments& moments, const Episodes& episodes, std::size_t n);

}  // namespace fastes
