// Plans of low-rank noise: factors to scratch memory, then tiles that are made of them.
#include <stdexcept>

#include "launches.hpp"

namespace fastes::device {
namespace {

LowRankShape low_rank_shape(const LowRank& shape) {
    if (shape.rank > largest_rank) {
        throw std::invalid_argument("rank must be at most " + std::to_string(largest_rank) + " on a GPU, not " +
                                    std::to_string(shape.rank) + ".");
    }
    return {shape.m, shape.n, static_cast<std::uint32_t>(shape.rank)};
}

Rows some_of(const Rows& rows, std::uint64_t first, std::uint64_t count) {
    return {rows.numbers + first * rows.words, rows.words, count};
}

// Rows whose factors lie in scratch memory at a time, a multiple of `step`.
std::uint64_t rows_together(const Processor& processor, const LowRank& shape, std::uint64_t rows, std::uint64_t step) {
    const std::uint64_t fitting = processor.scratch_bytes / (shape.factor_elements() * sizeof(float));
    return std::min(std::max(fitting / step, std::uint64_t{1}) * step, ceil_div(rows, step) * step);
}

void push_factors(std::vector<Launch>& launches, const Address& address, const Rows& rows, const LowRank& shape,
                  float* factors) {
    for (Launch& fill : device::fill(address, rows, shape.first, shape.factor_elements(), factors).launches(nullptr)) {
        launches.push_back(std::move(fill));
    }
}

}  // namespace

Plan low_rank_perturb(const Processor& processor, const Address& address, const Rows& rows, const LowRank& shape,
                      const float* theta, const float* scales, void* out, OutputType type) {
    const LowRankShape sides = low_rank_shape(shape);
    const std::uint64_t together = rows_together(processor, shape, rows.count, 2);
    const float root = root_scale(shape.rank);
    const std::uint64_t scratch_bytes = together * shape.factor_elements() * sizeof(float);
    return {scratch_bytes, [=](void* scratch) {
                auto* factors = static_cast<float*>(scratch);
                std::vector<Launch> launches;
                for (std::uint64_t first = 0; first < rows.count; first += together) {
                    const Rows some = some_of(rows, first, std::min(together, rows.count - first));
                    push_factors(launches, address, some, shape, factors);
                    with_type(type, [&]<class T>() {
                        using Body = LowRankPerturb<T>;
                        const std::uint64_t members = members_of_block(processor, sides.tiles() * Body::threads,
                                                                       some.count, LowRankTile::resident_threads);
                        T* to = static_cast<T*>(out) + first * shape.m * shape.n;
                        const bool whole = shape.n % 4 == 0 && aligned({theta, out});
                        launches.push_back(launch<Body>(std::string("low_rank_perturb_") + name_of(type), sides.tiles(),
                                                        ceil_div(some.count, members),
                                                        {{row_numbers(some), scales + first, some.count},
                                                         sides,
                                                         members,
                                                         factors,
                                                         theta,
                                                         to,
                                                         root,
                                                         whole}));
                    });
                }
                return launches;
            }};
}

Plan low_rank_sum(const Processor& processor, const Address& address, const Weighted& weighted, const LowRank& shape,
                  float* out) {
    const LowRankShape sides = low_rank_shape(shape);
    const std::uint64_t count = weighted.rows.count, chunks = ceil_div(count, chunk_rows), dim = shape.m * shape.n;
    const std::uint64_t together = rows_together(processor, shape, count, chunk_rows);
    const std::uint64_t factor_bytes = ceil_div(together * shape.factor_elements() * sizeof(float), 16) * 16;
    const float root = root_scale(shape.rank);
    // Factors of rows [first, first + some), then the sums of their chunks, `chunks_of_block` each row of blocks.
    const auto push = [=](std::vector<Launch>& launches, std::uint64_t first, std::uint64_t some,
                          std::uint64_t chunks_of_block, float* factors, float* totals, std::uint64_t stride,
                          bool onward) {
        const Rows rows = some_of(weighted.rows, first, some);
        if (some > 0) push_factors(launches, address, rows, shape, factors);
        const std::uint64_t grid_y = std::max<std::uint64_t>(ceil_div(ceil_div(some, chunk_rows), chunks_of_block), 1);
        launches.push_back(launch<LowRankSum>("low_rank_sum", sides.tiles(), grid_y,
                                              {{row_numbers(rows), weighted.weights + first, some},
                                               sides,
                                               chunks_of_block,
                                               factors,
                                               totals,
                                               stride,
                                               root,
                                               onward,
                                               shape.n % 4 == 0 && aligned({totals})}));
    };
    if (chunks < 2 || sides.tiles() * LowRankSum::threads >= filling(processor, LowRankTile::resident_threads)) {
        return {factor_bytes, [=](void* scratch) {
                    std::vector<Launch> launches;
                    for (std::uint64_t first = 0; first == 0 || first < count; first += together) {
                        push(launches, first, std::min(together, count - first), std::max<std::uint64_t>(chunks, 1),
                             static_cast<float*>(scratch), out, dim, first > 0);
                        if (together == 0) break;
                    }
                    return launches;
                }};
    }
    const Split split(processor, dim, chunks, std::min(together / chunk_rows, largest_grid_y));
    return {factor_bytes + split.floats() * sizeof(float), [=](void* scratch) {
                auto* factors = static_cast<float*>(scratch);
                auto* totals = reinterpret_cast<float*>(static_cast<std::byte*>(scratch) + factor_bytes);
                const Ending<Copy> ending{"weighted_sum", {out}, aligned({out})};
                return combined(split, ending, totals, [&](auto& launches, std::uint64_t chunk, std::uint64_t some) {
                    const std::uint64_t first = chunk * chunk_rows;
                    push(launches, first, std::min(some * chunk_rows, count - first), 1, factors, totals,
                         split.stride(), false);
                });
            }};
}

}  // namespace fastes::device
