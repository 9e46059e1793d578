// Perturbations of low rank on a GPU: noise specification 1, section "Low rank". FillRows leaves the factors in scratch
// memory, [rows][rank][m + n]; here tiles of the product are made of them.
#pragma once

#include <cstdint>

#include "fastes/device/grid.hpp"
#include "fastes/device/quad_lanes.hpp"
#include "fastes/device/rows.hpp"
#include "fastes/outputs.hpp"

namespace fastes {
inline namespace FASTES_ISA {

// Components of a chunk of rows have 32-bit numbers, because 64-bit division is slow on a GPU.
inline constexpr std::uint64_t largest_rank = std::uint64_t{1} << 25;

struct LowRankShape {
    std::uint64_t m, n;  // sides of the tensor
    std::uint32_t rank;

    FASTES_CALLABLE std::uint64_t tiles() const { return (m + 63) / 64 * tile_columns(); }
    FASTES_CALLABLE std::uint32_t tile_columns() const { return static_cast<std::uint32_t>((n + 63) / 64); }
};

// A tile of 64 x 64, of which each of 256 threads has rows i .. i + 3 and columns j .. j + 3. It takes eight components
// at a time: a column of A and of B each.
struct LowRankTile {
    static constexpr std::uint32_t side = 64, threads = 256, depth = 8, resident_threads = 1024;
    struct Shared {
        alignas(16) float a[depth][side], b[depth][side];
    };

    std::uint64_t first_row, first_column;
    std::uint32_t i, j;

    FASTES_CALLABLE LowRankTile(const LowRankShape& shape, std::uint32_t block, std::uint32_t thread)
        : first_row(std::uint64_t{block / shape.tile_columns()} * side),
          first_column(std::uint64_t{block % shape.tile_columns()} * side),
          i(thread / 16 * 4),
          j(thread % 16 * 4) {}

    // Components begin .. begin + depth - 1 of `factors`, those before `end`; A's are multiplied by weight(component).
    template <class Weight>
    FASTES_INLINE void load(const LowRankShape& shape, const float* factors, std::uint32_t begin, std::uint32_t end,
                            std::uint32_t thread, Shared& shared, const Weight& weight) const {
        const std::uint32_t column = thread % side;
        const bool is_a = thread / side % 2 == 0;
        const std::uint64_t at = (is_a ? first_row : first_column) + column;
        const bool inside = at < (is_a ? shape.m : shape.n);
        FASTES_UNROLL
        for (std::uint32_t d = thread / (2 * side); d < depth; d += threads / (2 * side)) {
            if (!inside || begin + d >= end) continue;  // what is not set here is never stored
            const float* component = factors + std::uint64_t{begin + d} * (shape.m + shape.n);
            if (is_a) {
                shared.a[d][column] = rounded_product(weight(begin + d), component[at]);
            } else {
                shared.b[d][column] = component[shape.m + at];
            }
        }
    }

    // e[r][c] = fma(A[i + r], B[j + c], e[r][c]) over the components from `begin` that load took.
    FASTES_INLINE void multiply(const Shared& shared, std::uint32_t begin, std::uint32_t end, float (*e)[4]) const {
        const std::uint32_t count = end - begin < depth ? end - begin : depth;
        for (std::uint32_t d = 0; d < count; ++d) {
            const QuadLanes::f32 a = QuadLanes::load(&shared.a[d][i]), b = QuadLanes::load(&shared.b[d][j]);
            FASTES_UNROLL
            for (int r = 0; r < 4; ++r) {
                for (int c = 0; c < 4; ++c) e[r][c] = fused_multiply_add(a.x[r], b.x[c], e[r][c]);
            }
        }
    }

    // sink(row of the matrix) takes position and elements, for those rows that there are.
    template <class Sink>
    FASTES_INLINE void emit(const LowRankShape& shape, const float (*e)[4], bool aligned, const Sink& sink) const {
        FASTES_UNROLL
        for (std::uint32_t r = 0; r < 4; ++r) {
            const std::uint64_t row = first_row + i + r;
            if (row < shape.m) {
                emit_quad(e[r], static_cast<std::int64_t>(first_column + j), shape.n, aligned, sink(row));
            }
        }
    }
};

// out[k] = theta + scales[k] root E_k, E_k = sum_a A_a B_a^T.
template <class T>
struct LowRankPerturb {
    static constexpr std::uint32_t threads = LowRankTile::threads;
    using Shared = LowRankTile::Shared;
    struct Params {
        WeightedNumbers members;  // rows and scales
        LowRankShape shape;
        std::uint64_t members_of_block;
        const float* factors;  // [members.count][rank][m + n]
        const float* theta;    // [m][n]
        T* out;                // [members.count][m][n]
        float root;            // 1 / sqrt(rank)
        bool aligned;
    };

    FASTES_CALLABLE LowRankPerturb(const Params& params, const Place& place, Shared& memory)
        : p(params), at(place), shared(memory), tile(p.shape, at.block_x, at.thread) {}

    FASTES_CALLABLE std::uint32_t steps() const {
        const std::uint64_t rest = p.members.count - first_member();
        return static_cast<std::uint32_t>(rest < p.members_of_block ? rest : p.members_of_block) * steps_of_member();
    }
    FASTES_CALLABLE void load(std::uint32_t step) {
        const std::uint64_t member = member_of(step);
        if (is_made(member)) return;
        const float* factors = p.factors + member * p.shape.rank * (p.shape.m + p.shape.n);
        tile.load(p.shape, factors, first_component(step), p.shape.rank, at.thread, shared,
                  [](std::uint32_t) { return 1.0f; });
    }
    FASTES_CALLABLE void work(std::uint32_t step) {
        const std::uint64_t member = member_of(step);
        const std::uint32_t component = first_component(step);
        if (!is_made(member)) {
            if (component == 0) {
                for (auto& row : e) {
                    for (float& x : row) x = 0.0f;
                }
            }
            tile.multiply(shared, component, p.shape.rank, e);
        }
        if (component + LowRankTile::depth < p.shape.rank) return;
        const float scale = rounded_product(p.members.weights[member], p.root);
        T* out = p.out + member * p.shape.m * p.shape.n;
        const Params& params = p;
        tile.emit(p.shape, e, p.aligned, [&params, out, scale](std::uint64_t row) {
            return PerturbRow<T, false>{params.theta + row * params.shape.n, out + row * params.shape.n, scale};
        });
    }
    FASTES_CALLABLE void finish() const {}

private:
    FASTES_CALLABLE std::uint64_t first_member() const { return at.block_y * p.members_of_block; }
    FASTES_CALLABLE std::uint64_t member_of(std::uint32_t step) const {
        return first_member() + step / steps_of_member();
    }
    FASTES_CALLABLE std::uint32_t steps_of_member() const {
        return (p.shape.rank + LowRankTile::depth - 1) / LowRankTile::depth;
    }
    FASTES_CALLABLE std::uint32_t first_component(std::uint32_t step) const {
        return step % steps_of_member() * LowRankTile::depth;
    }
    // Whether e holds this member's perturbation since its neighbour, which has the same row.
    FASTES_CALLABLE bool is_made(std::uint64_t member) const {
        return member > first_member() && p.members.rows[member] == p.members.rows[member - 1];
    }

    const Params& p;
    Place at;
    Shared& shared;
    LowRankTile tile;
    float e[4][4] = {};
};

// The sums of some chunks of rows: row of blocks y leaves that of its chunks in totals[y], added in order to what is
// there already if `onward`.
struct LowRankSum {
    static constexpr std::uint32_t threads = LowRankTile::threads;
    using Shared = LowRankTile::Shared;
    struct Params {
        WeightedNumbers rows;
        LowRankShape shape;
        std::uint64_t chunks_of_block;
        const float* factors;  // [rows.count][rank][m + n]
        float* totals;         // [rows of blocks][stride], of which m n are used
        std::uint64_t stride;
        float root;  // 1 / sqrt(rank)
        bool onward, aligned;
    };

    FASTES_CALLABLE LowRankSum(const Params& params, const Place& place, Shared& memory)
        : p(params), at(place), shared(memory), tile(p.shape, at.block_x, at.thread) {
        FASTES_UNROLL
        for (std::uint32_t r = 0; r < 4; ++r) {
            for (std::uint32_t c = 0; c < 4; ++c) {
                const std::uint64_t row = tile.first_row + tile.i + r, column = tile.first_column + tile.j + c;
                const bool inside = row < p.shape.m && column < p.shape.n;
                total[r][c] = p.onward && inside ? totals()[row * p.shape.n + column] : 0.0f;
            }
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
        const float* factors = p.factors + chunk.begin * p.shape.rank * (p.shape.m + p.shape.n);
        tile.load(p.shape, factors, first_component(step), chunk.count * p.shape.rank, at.thread, shared,
                  [&params, &chunk](std::uint32_t d) {
                      return rounded_product(params.rows.weights[chunk.begin + d / params.shape.rank], params.root);
                  });
    }
    FASTES_CALLABLE void work(std::uint32_t step) {
        const std::uint32_t components = chunk_of(step).count * p.shape.rank, begin = first_component(step);
        if (begin == 0) {
            for (auto& row : sum) {
                for (float& x : row) x = 0.0f;
            }
        }
        if (begin < components) tile.multiply(shared, begin, components, sum);
        if (step % steps_of_chunk() != steps_of_chunk() - 1) return;
        FASTES_UNROLL
        for (int r = 0; r < 4; ++r) {
            for (int c = 0; c < 4; ++c) total[r][c] = rounded_sum(total[r][c], sum[r][c]);
        }
    }
    FASTES_CALLABLE void finish() const {
        float* first = totals();
        const std::uint64_t n = p.shape.n;
        tile.emit(p.shape, total, p.aligned, [first, n](std::uint64_t row) { return Copy{first + row * n}; });
    }

private:
    FASTES_CALLABLE float* totals() const { return p.totals + at.block_y * p.stride; }
    FASTES_CALLABLE std::uint64_t first_chunk() const { return at.block_y * p.chunks_of_block; }
    FASTES_CALLABLE std::uint32_t steps_of_chunk() const {
        return static_cast<std::uint32_t>(chunk_rows) / LowRankTile::depth * p.shape.rank;
    }
    FASTES_CALLABLE Chunk chunk_of(std::uint32_t step) const {
        return Chunk(p.rows, first_chunk() + step / steps_of_chunk());
    }
    FASTES_CALLABLE std::uint32_t first_component(std::uint32_t step) const {
        return step % steps_of_chunk() * LowRankTile::depth;
    }

    const Params& p;
    Place at;
    Shared& shared;
    LowRankTile tile;
    float sum[4][4] = {}, total[4][4];
};

}  // namespace FASTES_ISA
}  // namespace fastes
