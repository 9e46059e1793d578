// Perturbations of low rank applied to inputs on a GPU: noise specification 1, section "Low rank: applied to inputs".
// LowRankProject makes columns of B and leaves their products with rows of x in scratch memory; LowRankExpand makes
// columns of A and adds to y. No factor is ever in memory. A block takes up to four neighbouring rows of x, and makes
// noise once for those of them that have the same.
#pragma once

#include <cstdint>

#include "fastes/device/grid.hpp"
#include "fastes/device/quad_lanes.hpp"
#include "fastes/device/rows.hpp"
#include "fastes/outputs.hpp"

namespace fastes {
inline namespace FASTES_ISA {

struct AppliedLowRank {
    NoiseAddress noise;
    WeightedNumbers members;  // rows and scales
    std::uint64_t m, n, first;
    std::uint32_t rank;
    std::uint32_t rows, rows_of_member, rows_of_block;  // of x

    FASTES_CALLABLE std::uint64_t component(std::uint32_t a) const { return first + a * (m + n); }
};

// The rows of x that a block takes.
struct BlockOfInputs {
    static constexpr std::uint32_t most = 4;
    struct Shared {
        SharedRow rows[most];
    };

    std::uint32_t first, count;

    FASTES_CALLABLE BlockOfInputs(const AppliedLowRank& applied, std::uint32_t block)
        : first(block * applied.rows_of_block),
          count(applied.rows - first < applied.rows_of_block ? applied.rows - first : applied.rows_of_block) {}

    FASTES_CALLABLE void load(const AppliedLowRank& applied, std::uint32_t thread, float root, Shared& shared) const {
        if (thread < count) {
            const std::uint32_t member = (first + thread) / applied.rows_of_member;
            shared.rows[thread] = SharedRow::of(applied.members, member, applied.noise, root);
        }
    }
    // The end of those from `begin` on that have the same noise; c0 is another for every row of it.
    FASTES_CALLABLE std::uint32_t end_of_same(const Shared& shared, std::uint32_t begin) const {
        std::uint32_t end = begin + 1;
        while (end < count && shared.rows[end].c0 == shared.rows[begin].c0) ++end;
        return end;
    }
};

// Elements 4 quad .. 4 quad + 3 of a row.
template <class Quad>
FASTES_INLINE void quad_of_row(std::uint64_t quad, const SharedRow& row, const NoiseAddress& noise, float* z) {
    const BlockKeys<ScalarLanes> block(static_cast<std::uint32_t>(quad / quads_of_block<Quad>), noise.generation,
                                       noise.keys);
    std::uint32_t words[1][4];
    philox_words<ScalarLanes, 1>(&block, row.key(), noise.keys, words);
    Quad::values(words[0], static_cast<std::uint32_t>(quad % quads_of_block<Quad>), z);
    if constexpr (Quad::Noise::step != 1.0f) {
        for (int k = 0; k < 4; ++k) z[k] = rounded_product(z[k], Quad::Noise::step);
    }
}

// Elements first .. first + 3 of a row, of two quads where it does not begin with one.
template <class Quad>
FASTES_INLINE void four_values(std::uint64_t first, const SharedRow& row, const NoiseAddress& noise, float* z) {
    quad_of_row<Quad>(first / 4, row, noise, z);
    const auto shift = static_cast<std::uint32_t>(first % 4);
    if (shift == 0) return;
    float all[8] = {z[0], z[1], z[2], z[3]}, some[6];
    quad_of_row<Quad>(first / 4 + 1, row, noise, all + 4);
    for (int k = 0; k < 6; ++k) some[k] = (shift & 2) != 0 ? all[k + 2] : all[k];  // no index that is not known before
    for (int k = 0; k < 4; ++k) z[k] = (shift & 1) != 0 ? some[k + 1] : some[k];
}

// products[l][a] = x[l] . B_a for the rows of a block and one component. Thread j has elements 4 j .. 4 j + 3 of every
// 1024, so four of the 1024 chains.
template <class Quad, class T>
struct LowRankProject {
    static constexpr std::uint32_t threads = 256;
    static constexpr std::uint32_t most = BlockOfInputs::most, chains = 4 * threads;
    struct Shared {
        BlockOfInputs::Shared inputs;
        alignas(16) float sums[most][chains];
        float eighths[most][chains / 8], rest[most][chains / 64];
    };
    struct Params {
        AppliedLowRank applied;
        const T* x;       // [rows][n]
        float* products;  // [rows][rank]
        bool aligned;
    };

    FASTES_CALLABLE LowRankProject(const Params& params, const Place& place, Shared& memory)
        : p(params), thread(place.thread), component(place.block_y), shared(memory), inputs(p.applied, place.block_x) {}

    FASTES_CALLABLE std::uint32_t steps() const { return 2; }
    FASTES_CALLABLE void load(std::uint32_t step) {
        if (step == 0) return inputs.load(p.applied, thread, 1.0f, shared.inputs);
        for (std::uint32_t i = thread; i < inputs.count * (chains / 8); i += threads) {
            const std::uint32_t l = i / (chains / 8), c = i % (chains / 8);
            shared.eighths[l][c] = folded(shared.sums[l] + c, chains / 8);
        }
    }
    FASTES_CALLABLE void work(std::uint32_t step) {
        if (step == 0) {
            for (std::uint32_t l = 0; l < inputs.count;) l = multiply(l);
        } else if (thread < inputs.count * (chains / 64)) {
            const std::uint32_t l = thread / (chains / 64), c = thread % (chains / 64);
            shared.rest[l][c] = folded(shared.eighths[l] + c, chains / 64);
        }
    }
    FASTES_CALLABLE void finish() const {
        if (thread >= inputs.count) return;
        const float* rest = shared.rest[thread];
        static_assert(chains / 64 == 16);
        p.products[std::uint64_t{inputs.first + thread} * p.applied.rank + component] =
            rounded_sum(folded(rest, 2), folded(rest + 1, 2));
    }

private:
    // Eight sums `apart` from each other, by halves.
    FASTES_INLINE static float folded(const float* sums, std::uint32_t apart) {
        float s[8];
        FASTES_UNROLL
        for (std::uint32_t k = 0; k < 8; ++k) s[k] = sums[k * apart];
        FASTES_UNROLL
        for (int half = 4; half > 0; half /= 2) {
            for (int k = 0; k < half; ++k) s[k] = rounded_sum(s[k], s[k + half]);
        }
        return s[0];
    }

    // Chains of this thread for rows begin .. end - 1, those with the same noise; gives the end.
    FASTES_INLINE std::uint32_t multiply(std::uint32_t begin) {
        const std::uint32_t count = inputs.end_of_same(shared.inputs, begin) - begin;
        const SharedRow row = shared.inputs.rows[begin];
        const auto n = static_cast<std::uint32_t>(p.applied.n);
        std::uint64_t element = p.applied.component(component) + p.applied.m + 4 * thread;
        const T* from = p.x + std::uint64_t{inputs.first + begin} * n + 4 * thread;
        float sum[most][4] = {};
        for (std::uint32_t j = 4 * thread; j < n; j += chains, element += chains, from += chains) {
            float z[4];
            four_values<Quad>(element, row, p.applied.noise, z);
            const T* at = from;
            if (p.aligned) {  // so n is a multiple of 4
                FASTES_UNROLL
                for (std::uint32_t l = 0; l < most; ++l, at += n) {
                    if (l >= count) break;
                    const QuadLanes::f32 x = QuadLanes::load(at);
                    for (int k = 0; k < 4; ++k) sum[l][k] = fused_multiply_add(x.x[k], z[k], sum[l][k]);
                }
                continue;
            }
            const std::uint32_t inside = n - j < 4 ? n - j : 4;
            FASTES_UNROLL
            for (std::uint32_t l = 0; l < most; ++l, at += n) {
                if (l >= count) break;
                for (std::uint32_t k = 0; k < 4; ++k) {
                    if (k < inside) sum[l][k] = fused_multiply_add(ScalarLanes::load(at + k), z[k], sum[l][k]);
                }
            }
        }
        FASTES_UNROLL
        for (std::uint32_t l = 0; l < most; ++l) {
            if (l >= count) continue;
            for (int k = 0; k < 4; ++k) shared.sums[begin + l][4 * thread + k] = sum[l][k];
        }
        return begin + count;
    }

    const Params& p;
    std::uint32_t thread, component;
    Shared& shared;
    BlockOfInputs inputs;
};

// y[l] += scales root sum_a products[l][a] A_a for the rows of a block and 1024 columns, four a thread.
template <class Quad, class T>
struct LowRankExpand {
    static constexpr std::uint32_t threads = 256, most = BlockOfInputs::most;
    using Shared = BlockOfInputs::Shared;
    struct Params {
        AppliedLowRank applied;
        const float* products;  // [rows][rank]
        T* y;                   // [rows][m]
        float root;             // 1 / sqrt(rank)
        bool aligned;
    };

    FASTES_CALLABLE LowRankExpand(const Params& params, const Place& place, Shared& memory)
        : p(params),
          thread(place.thread),
          first((place.block_y * threads + thread) * 4),
          shared(memory),
          inputs(p.applied, place.block_x) {}

    FASTES_CALLABLE std::uint32_t steps() const { return 1; }
    FASTES_CALLABLE void load(std::uint32_t) { inputs.load(p.applied, thread, p.root, shared); }
    FASTES_CALLABLE void work(std::uint32_t) {
        if (first >= p.applied.m) return;
        for (std::uint32_t l = 0; l < inputs.count;) l = add(l);
    }
    FASTES_CALLABLE void finish() const {}

private:
    // Columns of this thread for rows begin .. end - 1, those with the same noise; gives the end.
    FASTES_INLINE std::uint32_t add(std::uint32_t begin) const {
        const std::uint32_t count = inputs.end_of_same(shared, begin) - begin, rank = p.applied.rank;
        const SharedRow row = shared.rows[begin];
        const std::uint64_t first_row = inputs.first + begin;
        const auto m = static_cast<std::uint32_t>(p.applied.m);
        float sum[most][4] = {};
        for (std::uint32_t a = 0; a < rank; ++a) {
            float z[4];
            four_values<Quad>(p.applied.component(a) + first, row, p.applied.noise, z);
            const float* t = p.products + first_row * rank + a;
            FASTES_UNROLL
            for (std::uint32_t l = 0; l < most; ++l, t += rank) {
                if (l >= count) break;
                for (int k = 0; k < 4; ++k) sum[l][k] = fused_multiply_add(*t, z[k], sum[l][k]);
            }
        }
        T* to = p.y + first_row * m + first;
        FASTES_UNROLL
        for (std::uint32_t l = 0; l < most; ++l, to += m) {
            if (l >= count) break;
            const AddScaled<T> add{to, shared.rows[begin + l].weight};
            if (p.aligned) {  // so m is a multiple of 4
                add.template operator()<QuadLanes>(0, QuadLanes::f32{{sum[l][0], sum[l][1], sum[l][2], sum[l][3]}});
            } else {
                emit_quad(sum[l], 0, m - first, false, add);
            }
        }
        return begin + count;
    }

    const Params& p;
    std::uint32_t thread;
    std::uint32_t first;  // column
    Shared& shared;
    BlockOfInputs inputs;
};

}  // namespace FASTES_ISA
}  // namespace fastes
