// Perturbations of low rank on a GPU: noise specification 1, section "Low rank". Factors are never in the GPU's memory:
// each block makes those of its tile, eight components at a time.
#pragma once

#include <cstdint>

#include "fastes/device/grid.hpp"
#include "fastes/device/noise.hpp"
#include "fastes/device/quad_lanes.hpp"
#include "fastes/device/sum.hpp"
#include "fastes/outputs.hpp"

namespace fastes {
inline namespace FASTES_ISA {

struct LowRankShape {
    std::uint64_t m, n, rank, first;  // sides of the tensor; factors begin at element `first` of their stream

    FASTES_CALLABLE std::uint64_t tile_columns() const { return (n + 63) / 64; }
    FASTES_CALLABLE std::uint64_t tiles() const { return (m + 63) / 64 * tile_columns(); }
};

// A tile of 64 x 64, of which each of 256 threads has rows i .. i + 3 and columns j .. j + 3.
struct LowRankTile {
    static constexpr std::uint32_t side = 64, threads = 256, depth = 8;
    static constexpr std::uint32_t quads =
        side / 4 + 1;  // of a side of a component, one more where it begins in a quad
    struct Shared {
        alignas(16) float a[depth][side], b[depth][side];
    };

    std::uint64_t first_row, first_column;
    std::uint32_t i, j;

    FASTES_CALLABLE LowRankTile(const LowRankShape& shape, std::uint32_t block, std::uint32_t thread)
        : first_row(block / shape.tile_columns() * side),
          first_column(block % shape.tile_columns() * side),
          i(thread / 16 * 4),
          j(thread % 16 * 4) {}

    // Components [begin, begin + depth) of the list whose component d is weighted(d): its row of noise, its number in
    // the tensor and what A is multiplied by. What lies beyond the matrix is made and not used.
    template <class Quad, class Component>
    FASTES_INLINE void load(const LowRankShape& shape, const NoiseAddress& noise, std::uint64_t begin,
                            std::uint64_t end, std::uint32_t thread, Shared& shared, const Component& component) const {
        for (std::uint32_t task = thread; task < depth * 2 * quads; task += threads) {
            const std::uint32_t d = task / (2 * quads), q = task % quads;
            const bool is_a = task / quads % 2 == 0;
            if (begin + d >= end) return;
            std::uint32_t row;
            std::uint64_t number;
            float factor;
            component(begin + d, row, number, factor);
            const std::uint64_t element =
                shape.first + number * (shape.m + shape.n) + (is_a ? first_row : shape.m + first_column);
            float z[4];
            quad_values<Quad>(element / 4 + q, row, noise, z);
            const int at = static_cast<int>(4 * q) - static_cast<int>(element % 4);
            for (int k = 0; k < 4; ++k) {
                if (at + k < 0 || at + k >= static_cast<int>(side)) continue;
                const float value = Quad::Noise::step == 1.0f ? z[k] : rounded_product(z[k], Quad::Noise::step);
                if (is_a) {
                    shared.a[d][at + k] = rounded_product(factor, value);
                } else {
                    shared.b[d][at + k] = value;
                }
            }
        }
    }

    // e[r][c] = fma(A[i + r], B[j + c], e[r][c]) over the first `count` components.
    FASTES_INLINE void multiply(const Shared& shared, std::uint32_t count, float (*e)[4]) const {
        for (std::uint32_t d = 0; d < count; ++d) {
            const QuadLanes::f32 a = QuadLanes::load(&shared.a[d][i]), b = QuadLanes::load(&shared.b[d][j]);
            for (int r = 0; r < 4; ++r) {
                for (int c = 0; c < 4; ++c) e[r][c] = fused_multiply_add(a.x[r], b.x[c], e[r][c]);
            }
        }
    }

    // sink(row of the matrix, position in it, four elements) for those rows that there are.
    template <class Sink>
    FASTES_INLINE void emit(const LowRankShape& shape, const float (*e)[4], bool aligned, const Sink& sink) const {
        for (std::uint32_t r = 0; r < 4; ++r) {
            const std::uint64_t row = first_row + i + r;
            if (row >= shape.m) return;
            emit_quad(e[r], static_cast<std::int64_t>(first_column + j), shape.n, aligned, sink(row));
        }
    }
};

// out[k] = theta + scales[k] root E_k, E_k = sum_a A_a B_a^T.
template <class Quad, class T>
struct LowRankPerturb {
    static constexpr std::uint32_t threads = LowRankTile::threads;
    using Shared = LowRankTile::Shared;
    struct Params {
        NoiseAddress noise;
        RowNumbers rows;
        LowRankShape shape;
        std::uint64_t member_count, members_of_block;
        const float* theta;   // [m][n]
        const float* scales;  // [member_count]
        T* out;               // [member_count][m][n]
        float root;           // 1 / sqrt(rank)
        bool aligned;
    };

    FASTES_CALLABLE LowRankPerturb(const Params& params, const Place& place, Shared& memory)
        : p(params), at(place), shared(memory), tile(p.shape, at.block_x, at.thread) {}

    FASTES_CALLABLE std::uint32_t steps() const {
        const std::uint64_t rest = p.member_count - first_member();
        return static_cast<std::uint32_t>(rest < p.members_of_block ? rest : p.members_of_block) * steps_of_member();
    }
    FASTES_CALLABLE void load(std::uint32_t step) {
        const std::uint64_t member = first_member() + step / steps_of_member();
        if (is_made(member)) return;
        const std::uint32_t row = p.rows[member];
        tile.template load<Quad>(p.shape, p.noise, first_component(step), p.shape.rank, at.thread, shared,
                                 [row](std::uint64_t d, std::uint32_t& r, std::uint64_t& number, float& factor) {
                                     r = row;
                                     number = d;
                                     factor = 1.0f;
                                 });
    }
    FASTES_CALLABLE void work(std::uint32_t step) {
        const std::uint64_t member = first_member() + step / steps_of_member();
        const std::uint64_t component = first_component(step);
        if (!is_made(member)) {
            if (component == 0) {
                for (auto& row : e) {
                    for (float& x : row) x = 0.0f;
                }
            }
            const std::uint64_t rest = p.shape.rank - component;
            tile.multiply(shared, static_cast<std::uint32_t>(rest < LowRankTile::depth ? rest : LowRankTile::depth), e);
        }
        if (component + LowRankTile::depth < p.shape.rank) return;
        const float scale = rounded_product(p.scales[member], p.root);
        T* out = p.out + member * p.shape.m * p.shape.n;
        const Params& params = p;
        tile.emit(p.shape, e, p.aligned, [&params, out, scale](std::uint64_t row) {
            return PerturbRow<T, false>{params.theta + row * params.shape.n, out + row * params.shape.n, scale};
        });
    }
    FASTES_CALLABLE void finish() const {}

private:
    FASTES_CALLABLE std::uint64_t first_member() const { return at.block_y * p.members_of_block; }
    FASTES_CALLABLE std::uint32_t steps_of_member() const {
        return static_cast<std::uint32_t>((p.shape.rank + LowRankTile::depth - 1) / LowRankTile::depth);
    }
    FASTES_CALLABLE std::uint64_t first_component(std::uint32_t step) const {
        return std::uint64_t{step % steps_of_member()} * LowRankTile::depth;
    }
    // Whether e holds this member's perturbation since its neighbour, which has the same row.
    FASTES_CALLABLE bool is_made(std::uint64_t member) const {
        return member > first_member() && p.rows[member] == p.rows[member - 1];
    }

    const Params& p;
    Place at;
    Shared& shared;
    LowRankTile tile;
    float e[4][4];
};

// The total of some chunks of rows, each to totals[chunk - first_chunk], or their sum in order to `totals`.
template <class Quad>
struct LowRankSum {
    static constexpr std::uint32_t threads = LowRankTile::threads;
    using Shared = LowRankTile::Shared;
    struct Params {
        NoiseAddress noise;
        SumRows rows;
        LowRankShape shape;
        std::uint64_t first_chunk, chunks_of_block;
        float* totals;  // [rows of blocks][stride], of which m n are used
        std::uint64_t stride;
        float root;  // 1 / sqrt(rank)
        bool aligned;
    };

    FASTES_CALLABLE LowRankSum(const Params& params, const Place& place, Shared& memory)
        : p(params), at(place), shared(memory), tile(p.shape, at.block_x, at.thread) {
        for (auto& row : total) {
            for (float& x : row) x = 0.0f;
        }
    }

    // Steps of whole chunks; those that the last chunk lacks do nothing.
    FASTES_CALLABLE std::uint32_t steps() const {
        const std::uint64_t chunks = (p.rows.count + chunk_rows - 1) / chunk_rows, begin = first_chunk();
        const std::uint64_t rest = begin < chunks ? chunks - begin : 0;
        return static_cast<std::uint32_t>(rest < p.chunks_of_block ? rest : p.chunks_of_block) * steps_of_chunk();
    }
    FASTES_CALLABLE void load(std::uint32_t step) {
        const Chunk chunk = chunk_of(step);
        const Params& params = p;
        tile.template load<Quad>(
            p.shape, p.noise, first_component(step), chunk.count * p.shape.rank, at.thread, shared,
            [&params, &chunk](std::uint64_t d, std::uint32_t& row, std::uint64_t& number, float& factor) {
                const std::uint64_t k = chunk.begin + d / params.shape.rank;
                row = params.rows.rows[k];
                number = d % params.shape.rank;
                factor = rounded_product(params.rows.weights[k], params.root);
            });
    }
    FASTES_CALLABLE void work(std::uint32_t step) {
        const std::uint64_t components = chunk_of(step).count * p.shape.rank, begin = first_component(step);
        if (begin == 0) {
            for (auto& row : sum) {
                for (float& x : row) x = 0.0f;
            }
        }
        if (begin < components) {
            const std::uint64_t rest = components - begin;
            tile.multiply(shared, static_cast<std::uint32_t>(rest < LowRankTile::depth ? rest : LowRankTile::depth),
                          sum);
        }
        if (step % steps_of_chunk() != steps_of_chunk() - 1) return;
        for (int r = 0; r < 4; ++r) {
            for (int c = 0; c < 4; ++c) total[r][c] = rounded_sum(total[r][c], sum[r][c]);
        }
    }
    FASTES_CALLABLE void finish() const {
        float* totals = p.totals + at.block_y * p.stride;
        const std::uint64_t n = p.shape.n;
        tile.emit(p.shape, total, p.aligned, [totals, n](std::uint64_t row) { return Copy{totals + row * n}; });
    }

private:
    FASTES_CALLABLE std::uint64_t first_chunk() const { return p.first_chunk + at.block_y * p.chunks_of_block; }
    FASTES_CALLABLE std::uint32_t steps_of_chunk() const {
        return static_cast<std::uint32_t>(chunk_rows / LowRankTile::depth * p.shape.rank);
    }
    FASTES_CALLABLE Chunk chunk_of(std::uint32_t step) const {
        return Chunk(p.rows, first_chunk() + step / steps_of_chunk());
    }
    FASTES_CALLABLE std::uint64_t first_component(std::uint32_t step) const {
        return std::uint64_t{step % steps_of_chunk()} * LowRankTile::depth;
    }

    const Params& p;
    Place at;
    Shared& shared;
    LowRankTile tile;
    float sum[4][4], total[4][4];
};

}  // namespace FASTES_ISA
}  // namespace fastes
