// Weighted sums of noise rows on a GPU: g_j = sum_k w_k eps[row_k, j], noise specification 1, section "Reduction
// order".
//
// A thread owns some elements and goes through the rows in order, a chunk of 64 at a time, so the order is that of the
// specification whatever the grid is. Where the elements alone do not fill the GPU, each chunk is a row of blocks of
// its own, which leave totals that CombineTotals adds in order.
#pragma once

#include <cstdint>

#include "fastes/clipup.hpp"
#include "fastes/device/grid.hpp"
#include "fastes/device/noise.hpp"
#include "fastes/device/quad_lanes.hpp"
#include "fastes/device/rows.hpp"
#include "fastes/optimizer.hpp"
#include "fastes/outputs.hpp"
#include "fastes/snes.hpp"

namespace fastes {
inline namespace FASTES_ISA {

inline constexpr std::uint32_t sum_threads = 256;

// Shares: what one thread sums of a chunk, per kind of noise.
//
//     elements               of a thread; they begin at element first_element(first block of the grid's, thread)
//     resident_threads       that a multiprocessor of today's GPUs holds at a time, by registers and shared memory
//     steps                  of a chunk
//     begin, load, work      as in grid.hpp, for step `part` of a chunk; work adds to sum

// A block of Philox each: four elements.
struct NormalShare {
    using Noise = Normal<ScalarLanes>;
    static constexpr std::uint32_t elements = 4, steps = 1, resident_threads = 2048;
    static constexpr std::uint64_t blocks_of_grid_block = sum_threads;
    struct Shared {
        SharedRow rows[chunk_rows];
    };

    BlockKeys<ScalarLanes> block;

    FASTES_CALLABLE static std::uint64_t first_element(std::uint64_t first_block, std::uint32_t thread) {
        return (first_block + thread) * Noise::block_elements;
    }
    FASTES_CALLABLE void begin(std::uint64_t first_block, std::uint32_t thread, const NoiseAddress& noise, Shared&) {
        block = {static_cast<std::uint32_t>(first_block + thread), noise.generation, noise.keys};
    }
    FASTES_CALLABLE void load(const WeightedNumbers& rows, const Chunk& chunk, std::uint32_t, std::uint32_t thread,
                              const NoiseAddress& noise, Shared& shared) {
        if (thread < chunk.count) shared.rows[thread] = SharedRow::of(rows, chunk.begin + thread, noise, Noise::step);
    }
    FASTES_INLINE void work(const Chunk& chunk, std::uint32_t, std::uint32_t, const NoiseAddress& noise,
                            const Shared& shared, float* sum) const {
        for (std::uint32_t k = 0; k < chunk.count; ++k) {
            const SharedRow row = shared.rows[k];
            std::uint32_t words[1][4];
            philox_words<ScalarLanes, 1>(&block, row.key(), noise.keys, words);
            float z[4];
            normals<ScalarLanes>(words[0], z);
            for (int i = 0; i < 4; ++i) sum[i] = fused_multiply_add(row.weight, z[i], sum[i]);
        }
    }
    FASTES_INLINE void work_both(const Chunk& chunk, std::uint32_t, const NoiseAddress& noise, const Shared& shared,
                                 const float* square_weights, float* sum, float* square_sum) const {
        for (std::uint32_t k = 0; k < chunk.count; ++k) {
            const SharedRow row = shared.rows[k];
            std::uint32_t words[1][4];
            philox_words<ScalarLanes, 1>(&block, row.key(), noise.keys, words);
            float z[4];
            normals<ScalarLanes>(words[0], z);
            for (int i = 0; i < 4; ++i) {
                sum[i] = fused_multiply_add(row.weight, z[i], sum[i]);
                const float square = fused_multiply_add(z[i], z[i], -1.0f);
                square_sum[i] = fused_multiply_add(square_weights[k], square, square_sum[i]);
            }
        }
    }
};

// A block of Philox each: sixteen elements. The levels lie once in each bank of shared memory, so that no two threads
// of a warp wait for each other.
struct Normal8Share {
    using Noise = Normal8<ScalarLanes>;
    static constexpr std::uint32_t elements = 16, steps = 1, resident_threads = 1024, banks = 32;
    static_assert(banks * sizeof(float) == 1u << 7);
    static constexpr std::uint64_t blocks_of_grid_block = sum_threads;
    struct Shared {
        SharedRow rows[chunk_rows];
        float levels[256][banks];
    };

    BlockKeys<ScalarLanes> block;

    FASTES_CALLABLE static std::uint64_t first_element(std::uint64_t first_block, std::uint32_t thread) {
        return (first_block + thread) * Noise::block_elements;
    }
    FASTES_CALLABLE void begin(std::uint64_t first_block, std::uint32_t thread, const NoiseAddress& noise,
                               Shared& shared) {
        block = {static_cast<std::uint32_t>(first_block + thread), noise.generation, noise.keys};
        for (std::uint32_t i = thread; i < 256 * banks; i += sum_threads) {
            shared.levels[i / banks][i % banks] = static_cast<float>(ScalarLanes::level(i / banks, 0));
        }
    }
    FASTES_CALLABLE void load(const WeightedNumbers& rows, const Chunk& chunk, std::uint32_t, std::uint32_t thread,
                              const NoiseAddress& noise, Shared& shared) {
        if (thread < chunk.count) shared.rows[thread] = SharedRow::of(rows, chunk.begin + thread, noise, Noise::step);
    }
    FASTES_INLINE void work(const Chunk& chunk, std::uint32_t, std::uint32_t thread, const NoiseAddress& noise,
                            const Shared& shared, float* sum) const {
        const auto* levels = reinterpret_cast<const char*>(&shared.levels[0][0]);
        const std::uint32_t bank = thread % banks * sizeof(float);
        for (std::uint32_t k = 0; k < chunk.count; ++k) {
            const SharedRow row = shared.rows[k];
            std::uint32_t words[1][4];
            philox_words<ScalarLanes, 1>(&block, row.key(), noise.keys, words);
            FASTES_UNROLL
            for (int i = 0; i < 16; ++i) {
                const std::uint32_t word = words[0][i / 4];
                // Byte i % 4 of the word, times the bytes of a row of levels.
                const std::uint32_t shifted = i % 4 == 0 ? word << 7 : word >> (8 * (i % 4) - 7);
                const float level = *reinterpret_cast<const float*>(levels + ((shifted & 255u << 7) | bank));
                sum[i] = fused_multiply_add(row.weight, level, sum[i]);
            }
        }
    }
    FASTES_INLINE void work_both(const Chunk& chunk, std::uint32_t thread, const NoiseAddress& noise,
                                 const Shared& shared, const float* square_weights, float* sum,
                                 float* square_sum) const {
        const std::uint32_t bank = thread % banks;
        for (std::uint32_t k = 0; k < chunk.count; ++k) {
            const SharedRow row = shared.rows[k];
            std::uint32_t words[1][4];
            philox_words<ScalarLanes, 1>(&block, row.key(), noise.keys, words);
            FASTES_UNROLL
            for (int i = 0; i < 16; ++i) {
                const float level = shared.levels[words[0][i / 4] >> 8 * (i % 4) & 255u][bank];
                sum[i] = fused_multiply_add(row.weight, level, sum[i]);
                const float square =
                    fused_multiply_add(rounded_product(level, Noise::step * Noise::step), level, -1.0f);
                square_sum[i] = fused_multiply_add(square_weights[k], square, square_sum[i]);
            }
        }
    }
};

// A word each: 32 elements. Four threads make the words of a block's four rows for each other; then the four bits of an
// element choose one of the 16 signed sums of four weights, as on the CPU.
struct RademacherShare {
    using Noise = Rademacher<ScalarLanes>;
    static constexpr std::uint32_t elements = 32, steps = Noise::quads, resident_threads = 512;
    static constexpr std::uint64_t blocks_of_grid_block = sum_threads / 4;
    struct Shared {
        std::uint32_t words[4][sum_threads];  // of row, then of block and word
        float sums[Noise::quads][16];
    };
    static_assert(sum_threads == 16 * Noise::quads);

    BlockKeys<ScalarLanes> block;

    FASTES_CALLABLE static std::uint64_t first_element(std::uint64_t first_block, std::uint32_t thread) {
        return (first_block + thread / 4) * Noise::block_elements + 32 * (thread % 4);
    }
    FASTES_CALLABLE void begin(std::uint64_t first_block, std::uint32_t thread, const NoiseAddress& noise, Shared&) {
        block = {static_cast<std::uint32_t>(first_block + thread / 4), noise.generation, noise.keys};
    }
    FASTES_CALLABLE void load(const WeightedNumbers& rows, const Chunk& chunk, std::uint32_t part, std::uint32_t thread,
                              const NoiseAddress& noise, Shared& shared) {
        if (part == 0) shared.sums[thread / 16][thread % 16] = signed_sum(rows, chunk, thread / 16, thread % 16);
        if (4 * part >= chunk.count) return;
        const std::uint32_t own = 4 * part + thread % 4;
        const std::uint32_t k = own < chunk.count ? own : 4 * part;  // a missing row's weight is 0: any bits will do
        std::uint32_t words[1][4];
        philox_words<ScalarLanes, 1>(&block, row_key(rows.rows[chunk.begin + k], noise), noise.keys, words);
        for (int i = 0; i < 4; ++i) shared.words[thread % 4][thread / 4 * 4 + i] = words[0][i];
    }
    FASTES_INLINE void work(const Chunk& chunk, std::uint32_t part, std::uint32_t thread, const NoiseAddress&,
                            const Shared& shared, float* sum) const {
        if (4 * part >= chunk.count) return;
        std::uint32_t nibbles[4];
        Noise::transpose_bits(shared.words[0][thread], shared.words[1][thread], shared.words[2][thread],
                              shared.words[3][thread], nibbles);
        const float* sums = shared.sums[part];
        FASTES_UNROLL
        for (int j = 0; j < 8; ++j) {
            for (int p = 0; p < 4; ++p) {
                sum[4 * j + p] = rounded_sum(sum[4 * j + p], sums[nibbles[p] >> 4 * j & 15u]);
            }
        }
    }

private:
    // (+-w0 +- w1) + (+-w2 +- w3) for four bits, that of the first row lowest.
    FASTES_CALLABLE static float signed_sum(const WeightedNumbers& rows, const Chunk& chunk, std::uint32_t quad,
                                            std::uint32_t bits) {
        float w[4];
        for (std::uint32_t r = 0; r < 4; ++r) {
            const std::uint32_t k = 4 * quad + r;
            w[r] = k < chunk.count ? rows.weights[chunk.begin + k] : 0.0f;
            if ((bits >> r & 1u) != 0) w[r] = -w[r];
        }
        return rounded_sum(rounded_sum(w[0], w[1]), rounded_sum(w[2], w[3]));
    }
};

// An optimizer's update of single elements, with its numbers.
template <class Step, class Update>
struct UpdateOutput {
    Step step;

    template <class V>
    FASTES_CALLABLE void operator()(std::int64_t position, typename V::f32 g) const {
        Update{step, 0}.template operator()<V>(position, g);
    }
};
using SgdOutput = UpdateOutput<SgdStep, SgdUpdate>;
using AdamOutput = UpdateOutput<AdamStep, AdamUpdate>;
using GradientOutput = UpdateOutput<ClipUpStep, GradientUpdate>;
using SnesMeanOutput = UpdateOutput<SnesStep, SnesMean>;
using SnesSpreadOutput = UpdateOutput<SnesStep, SnesSpread>;

// The first block of Philox of a block of the grid.
template <class Share, class Params>
FASTES_CALLABLE std::uint64_t first_noise_block(const Params& p, const Place& at) {
    return p.first / Share::Noise::block_elements + at.block_x * Share::blocks_of_grid_block;
}

// A thread's elements to an output, those of them that are wanted.
template <class Share, class Params, class Output>
FASTES_INLINE void emit_share(const float* values, const Params& p, const Place& at, const Output& output) {
    const std::uint64_t element = Share::first_element(first_noise_block<Share>(p, at), at.thread);
    const auto position = static_cast<std::int64_t>(element) - static_cast<std::int64_t>(p.first);
    FASTES_UNROLL
    for (std::uint32_t i = 0; i < Share::elements; i += 4)
        emit_quad(values + i, position + i, p.dim, p.aligned, output);
}

// All chunks in order, the result to an output.
template <class Share, class Output>
struct WeightedSum {
    static constexpr std::uint32_t threads = sum_threads;
    using Shared = typename Share::Shared;
    struct Params {
        NoiseAddress noise;
        WeightedNumbers rows;
        std::uint64_t first, dim;
        Output output;
        bool aligned;
    };

    FASTES_CALLABLE WeightedSum(const Params& params, const Place& place, Shared& memory)
        : p(params), at(place), shared(memory) {
        share.begin(first_noise_block<Share>(p, at), at.thread, p.noise, shared);
        FASTES_UNROLL
        for (std::uint32_t i = 0; i < Share::elements; ++i) total[i] = sum[i] = 0.0f;
    }

    FASTES_CALLABLE std::uint32_t steps() const {
        return static_cast<std::uint32_t>((p.rows.count + chunk_rows - 1) / chunk_rows) * Share::steps;
    }
    FASTES_CALLABLE void load(std::uint32_t step) {
        share.load(p.rows, Chunk(p.rows, step / Share::steps), step % Share::steps, at.thread, p.noise, shared);
    }
    FASTES_INLINE void work(std::uint32_t step) {
        share.work(Chunk(p.rows, step / Share::steps), step % Share::steps, at.thread, p.noise, shared, sum);
        if (step % Share::steps == Share::steps - 1) {
            FASTES_UNROLL
            for (std::uint32_t i = 0; i < Share::elements; ++i) {
                total[i] = rounded_sum(total[i], sum[i]);
                sum[i] = 0.0f;
            }
        }
    }
    FASTES_CALLABLE void finish() const { emit_share<Share>(total, p, at, p.output); }

private:
    const Params& p;
    Place at;
    Shared& shared;
    Share share;
    float sum[Share::elements], total[Share::elements];
};

// The total of one chunk each row of blocks: totals[chunk - first_chunk][j].
template <class Share>
struct ChunkTotals {
    static constexpr std::uint32_t threads = sum_threads;
    using Shared = typename Share::Shared;
    struct Params {
        NoiseAddress noise;
        WeightedNumbers rows;
        std::uint64_t first, dim, first_chunk;
        float* totals;
        std::uint64_t stride;
        bool aligned;
    };

    FASTES_CALLABLE ChunkTotals(const Params& params, const Place& place, Shared& memory)
        : p(params), at(place), shared(memory), chunk(p.rows, p.first_chunk + at.block_y) {
        share.begin(first_noise_block<Share>(p, at), at.thread, p.noise, shared);
        FASTES_UNROLL
        for (std::uint32_t i = 0; i < Share::elements; ++i) sum[i] = 0.0f;
    }

    FASTES_CALLABLE std::uint32_t steps() const { return Share::steps; }
    FASTES_CALLABLE void load(std::uint32_t step) { share.load(p.rows, chunk, step, at.thread, p.noise, shared); }
    FASTES_INLINE void work(std::uint32_t step) { share.work(chunk, step, at.thread, p.noise, shared, sum); }
    FASTES_CALLABLE void finish() const { emit_share<Share>(sum, p, at, Copy{p.totals + at.block_y * p.stride}); }

private:
    const Params& p;
    Place at;
    Shared& shared;
    Chunk chunk;
    Share share;
    float sum[Share::elements];
};

// The sum and that of the squares less 1, h_j = sum_k b_k (eps[row_k, j]^2 - 1), of all chunks in order.
template <class Share>
struct SharedOfBoth : Share::Shared {
    float square_weights[chunk_rows];

    FASTES_CALLABLE void load(const float* given, const Chunk& chunk, std::uint32_t thread) {
        if (thread < chunk.count) square_weights[thread] = given[chunk.begin + thread];
    }
};

template <class Share, class Output, class SquareOutput>
struct WeightedSums {
    static_assert(Share::steps == 1);
    static constexpr std::uint32_t threads = sum_threads;
    using Shared = SharedOfBoth<Share>;
    struct Params {
        NoiseAddress noise;
        WeightedNumbers rows;
        const float* square_weights;
        std::uint64_t first, dim;
        Output output;
        SquareOutput square_output;
        bool aligned;
    };

    FASTES_CALLABLE WeightedSums(const Params& params, const Place& place, Shared& memory)
        : p(params), at(place), shared(memory) {
        share.begin(first_noise_block<Share>(p, at), at.thread, p.noise, shared);
        FASTES_UNROLL
        for (std::uint32_t i = 0; i < Share::elements; ++i) total[i] = square_total[i] = 0.0f;
    }

    FASTES_CALLABLE std::uint32_t steps() const {
        return static_cast<std::uint32_t>((p.rows.count + chunk_rows - 1) / chunk_rows);
    }
    FASTES_CALLABLE void load(std::uint32_t step) {
        const Chunk chunk(p.rows, step);
        share.load(p.rows, chunk, 0, at.thread, p.noise, shared);
        shared.load(p.square_weights, chunk, at.thread);
    }
    FASTES_INLINE void work(std::uint32_t step) {
        float sum[Share::elements] = {}, square_sum[Share::elements] = {};
        share.work_both(Chunk(p.rows, step), at.thread, p.noise, shared, shared.square_weights, sum, square_sum);
        FASTES_UNROLL
        for (std::uint32_t i = 0; i < Share::elements; ++i) {
            total[i] = rounded_sum(total[i], sum[i]);
            square_total[i] = rounded_sum(square_total[i], square_sum[i]);
        }
    }
    FASTES_CALLABLE void finish() const {
        emit_share<Share>(total, p, at, p.output);
        emit_share<Share>(square_total, p, at, p.square_output);
    }

private:
    const Params& p;
    Place at;
    Shared& shared;
    Share share;
    float total[Share::elements], square_total[Share::elements];
};

// Both totals of one chunk each row of blocks.
template <class Share>
struct ChunkTotalsOfBoth {
    static_assert(Share::steps == 1);
    static constexpr std::uint32_t threads = sum_threads;
    using Shared = SharedOfBoth<Share>;
    struct Params {
        NoiseAddress noise;
        WeightedNumbers rows;
        const float* square_weights;
        std::uint64_t first, dim, first_chunk;
        float *totals, *square_totals;
        std::uint64_t stride;
        bool aligned;
    };

    FASTES_CALLABLE ChunkTotalsOfBoth(const Params& params, const Place& place, Shared& memory)
        : p(params), at(place), shared(memory), chunk(p.rows, p.first_chunk + at.block_y) {
        share.begin(first_noise_block<Share>(p, at), at.thread, p.noise, shared);
        FASTES_UNROLL
        for (std::uint32_t i = 0; i < Share::elements; ++i) sum[i] = square_sum[i] = 0.0f;
    }

    FASTES_CALLABLE std::uint32_t steps() const { return 1; }
    FASTES_CALLABLE void load(std::uint32_t) {
        share.load(p.rows, chunk, 0, at.thread, p.noise, shared);
        shared.load(p.square_weights, chunk, at.thread);
    }
    FASTES_INLINE void work(std::uint32_t) {
        share.work_both(chunk, at.thread, p.noise, shared, shared.square_weights, sum, square_sum);
    }
    FASTES_CALLABLE void finish() const {
        emit_share<Share>(sum, p, at, Copy{p.totals + at.block_y * p.stride});
        emit_share<Share>(square_sum, p, at, Copy{p.square_totals + at.block_y * p.stride});
    }

private:
    const Params& p;
    Place at;
    Shared& shared;
    Chunk chunk;
    Share share;
    float sum[Share::elements], square_sum[Share::elements];
};

// Hands on a gradient that is there.
template <class Output>
struct ApplyGradient : OneStep {
    static constexpr std::uint32_t threads = 256;
    struct Params {
        const float* gradient;
        std::uint64_t dim;
        Output output;
        bool aligned;
    };

    FASTES_CALLABLE ApplyGradient(const Params& params, const Place& place, Shared&) : p(params), at(place) {}

    FASTES_CALLABLE void finish() const {
        const std::uint64_t j = 4 * (std::uint64_t{at.block_x} * threads + at.thread);
        if (p.aligned && j + 4 <= p.dim) {
            return p.output.template operator()<QuadLanes>(static_cast<std::int64_t>(j),
                                                           QuadLanes::load(p.gradient + j));
        }
        for (std::uint64_t i = j; i < j + 4 && i < p.dim; ++i) {
            p.output.template operator()<ScalarLanes>(static_cast<std::int64_t>(i), p.gradient[i]);
        }
    }

private:
    const Params& p;
    Place at;
};

// Adds totals in order, after those of earlier launches in `before`, if any, and hands on the result.
template <class Output>
struct CombineTotals : OneStep {
    static constexpr std::uint32_t threads = 256;
    struct Params {
        const float* totals;  // [chunks][stride], stride a multiple of 4
        const float* before;  // [stride] or null
        std::uint64_t chunks, stride, dim;
        Output output;
        bool aligned;
    };

    FASTES_CALLABLE CombineTotals(const Params& params, const Place& place, Shared&) : p(params), at(place) {}

    FASTES_CALLABLE void finish() const {
        const std::uint64_t j = 4 * (std::uint64_t{at.block_x} * threads + at.thread);
        if (j >= p.dim) return;
        auto g = p.before == nullptr ? QuadLanes::set(0.0f) : QuadLanes::load(p.before + j);
        for (std::uint64_t c = 0; c < p.chunks; ++c) {
            g = QuadLanes::add(g, QuadLanes::load(p.totals + c * p.stride + j));
        }
        emit_quad(g.x, static_cast<std::int64_t>(j), p.dim, p.aligned, p.output);
    }

private:
    const Params& p;
    Place at;
};

}  // namespace FASTES_ISA
}  // namespace fastes
