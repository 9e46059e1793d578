// Environments: a thread steps one episode.
#pragma once

#include "fastes/device/grid.hpp"
#include "fastes/device/quad_lanes.hpp"
#include "fastes/environments/step.hpp"

namespace fastes {
inline namespace FASTES_ISA {

// An observation's numbers, all four at once where there are four and memory is aligned.
template <std::size_t count>
struct WrittenObservation {
    bool aligned;

    FASTES_INLINE void operator()(float* to, const float* seen) const {
        if constexpr (count == QuadLanes::width) {
            if (aligned) return QuadLanes::store(to, {{seen[0], seen[1], seen[2], seen[3]}});
        }
        for (std::size_t k = 0; k < count; ++k) to[k] = seen[k];
    }
};

template <class D>
struct StepEpisodes : OneStep {
    static constexpr std::uint32_t threads = 256;
    struct Params {
        EpisodeStep step;
        bool aligned;
    };

    FASTES_CALLABLE StepEpisodes(const Params& params, const Place& place, Shared&) : p(params), at(place) {}

    FASTES_CALLABLE void finish() const {
        const std::uint64_t i = std::uint64_t{at.block_x} * threads + at.thread;
        if (i < p.step.count) step_episode<D>(p.step, i, WrittenObservation<D::sizes.observed>{p.aligned});
    }

private:
    const Params& p;
    Place at;
};

}  // namespace FASTES_ISA
}  // namespace fastes
