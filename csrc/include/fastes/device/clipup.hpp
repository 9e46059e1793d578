// What ClipUp needs besides the gradient that a weighted sum leaves: the norms in binary64, the scales, the step.
#pragma once

#include <cstdint>

#include "fastes/clipup.hpp"
#include "fastes/device/grid.hpp"
#include "fastes/device/quad_lanes.hpp"

namespace fastes {
inline namespace FASTES_ISA {

// step.sums from step.gradient and step.velocity_in: a thread makes one chain of one sum of one block of 1,024
// elements.
struct ClipUpSums {
    static constexpr std::uint32_t blocks = 8, threads = blocks * 3 * clipup_chains;
    struct Params {
        ClipUpStep step;
        std::uint64_t dim;
    };
    struct Shared {
        double chains[blocks][3][clipup_chains];
    };

    FASTES_CALLABLE ClipUpSums(const Params& params, const Place& place, Shared& memory)
        : p(params), at(place), shared(memory) {}

    FASTES_CALLABLE std::uint32_t steps() const { return 1; }
    FASTES_CALLABLE void load(std::uint32_t) {
        const std::uint32_t block = at.thread / (3 * clipup_chains), which = at.thread / clipup_chains % 3,
                            chain = at.thread % clipup_chains;
        const std::uint64_t begin = (std::uint64_t{at.block_x} * blocks + block) * clipup_block;
        const std::uint64_t end = begin + clipup_block < p.dim ? begin + clipup_block : p.dim;
        const float* x = which == 2 ? p.step.velocity_in : p.step.gradient;
        const float* y = which == 0 ? p.step.gradient : p.step.velocity_in;
        double sum = 0.0;
        for (std::uint64_t j = begin + chain; j < end; j += clipup_chains) {
            sum += static_cast<double>(x[j]) * static_cast<double>(y[j]);
        }
        shared.chains[block][which][chain] = sum;
    }
    FASTES_CALLABLE void work(std::uint32_t) {
        if (at.thread >= 3 * blocks) return;
        const std::uint64_t block = std::uint64_t{at.block_x} * blocks + at.thread / 3;
        if (block * clipup_block >= p.dim) return;
        p.step.sums[3 * block + at.thread % 3] = joined(shared.chains[at.thread / 3][at.thread % 3]);
    }
    FASTES_CALLABLE void finish() const {}

private:
    const Params& p;
    Place at;
    Shared& shared;
};

// The partial sums added in order by one thread for each of the three, and what the step needs of them.
struct ClipUpScales {
    static constexpr std::uint32_t threads = 256;
    struct Params {
        ClipUpStep step;
        std::uint64_t dim;
        float* scales;  // clipped_momentum, clipped_rate
    };
    struct Shared {
        double sums[threads][3];
        double totals[3];
    };

    FASTES_CALLABLE ClipUpScales(const Params& params, const Place& place, Shared& memory)
        : p(params), at(place), shared(memory) {
        if (at.thread < 3) shared.totals[at.thread] = 0.0;
    }

    FASTES_CALLABLE std::uint32_t steps() const {
        return static_cast<std::uint32_t>((blocks() + threads - 1) / threads);
    }
    FASTES_CALLABLE void load(std::uint32_t step) {
        const std::uint64_t block = std::uint64_t{step} * threads + at.thread;
        if (block >= blocks()) return;
        for (int k = 0; k < 3; ++k) shared.sums[at.thread][k] = p.step.sums[3 * block + k];
    }
    FASTES_CALLABLE void work(std::uint32_t step) {
        if (at.thread >= 3) return;
        double total = shared.totals[at.thread];
        const std::uint64_t rest = blocks() - std::uint64_t{step} * threads;
        for (std::uint64_t i = 0; i < threads && i < rest; ++i) total += shared.sums[i][at.thread];
        shared.totals[at.thread] = total;
    }
    FASTES_CALLABLE void finish() const {
        if (at.thread != 0) return;
        ClipUpStep step = p.step;
        find_scales(shared.totals[0], shared.totals[1], shared.totals[2], step);
        p.scales[0] = step.clipped_momentum;
        p.scales[1] = step.clipped_rate;
    }

private:
    FASTES_CALLABLE std::uint64_t blocks() const { return (p.dim + clipup_block - 1) / clipup_block; }

    const Params& p;
    Place at;
    Shared& shared;
};

struct ClipUpApply : OneStep {
    static constexpr std::uint32_t threads = 256;
    struct Params {
        ClipUpStep step;
        std::uint64_t dim;
        const float* scales;
        bool aligned;
    };

    FASTES_CALLABLE ClipUpApply(const Params& params, const Place& place, Shared&) : p(params), at(place) {}

    FASTES_CALLABLE void finish() const {
        const std::uint64_t j = 4 * (std::uint64_t{at.block_x} * threads + at.thread);
        ClipUpStep step = p.step;
        step.clipped_momentum = p.scales[0];
        step.clipped_rate = p.scales[1];
        const ClipUpUpdate update{step, 0};
        if (p.aligned && j + 4 <= p.dim) return update.template operator()<QuadLanes>(j);
        for (std::uint64_t i = j; i < j + 4 && i < p.dim; ++i) update.template operator()<ScalarLanes>(i);
    }

private:
    const Params& p;
    Place at;
};

}  // namespace FASTES_ISA
}  // namespace fastes
