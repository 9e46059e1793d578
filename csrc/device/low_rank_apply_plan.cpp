// The plan of low-rank noise applied to inputs: products with B to scratch memory, then A.
#include <stdexcept>

#include "launches.hpp"

namespace fastes::device {

Plan low_rank_apply(const Processor& processor, const Address& address, const Rows& members, const float* scales,
                    const LowRank& shape, const LayerRows& rows) {
    const std::uint64_t column_blocks = ceil_div(shape.m, 1024);
    if (shape.rank > largest_grid_y || column_blocks > largest_grid_y || shape.n >> 31 != 0 || rows.count >> 31 != 0) {
        throw std::invalid_argument(
            "on a GPU, low_rank_apply_ takes a rank up to 65535, m up to 2^26 - 1024, n and rows of x below 2^31, "
            "not " +
            std::to_string(shape.rank) + ", " + std::to_string(shape.m) + ", " + std::to_string(shape.n) + " and " +
            std::to_string(rows.count) + ".");
    }
    // Two rows of x a block at least, so that mirrored pairs share; more where all multiprocessors have work twice
    // over.
    const auto rows_of_block = [&](std::uint64_t grid_y) -> std::uint32_t {
        constexpr std::uint32_t most = BlockOfInputs::most;
        return ceil_div(rows.count, most) * grid_y < 8 * std::uint64_t{processor.multiprocessors} ? 2 : most;
    };
    const float root = root_scale(shape.rank);
    return with_kind(address.kind, [&]<class Quad, class Share>() -> Plan {
        return with_type(rows.type, [&]<class T>() -> Plan {
            using Project = LowRankProject<Quad, T>;
            using Expand = LowRankExpand<Quad, T>;
            const auto applied = [=](std::uint32_t of_block) {
                return AppliedLowRank{NoiseAddress(address),
                                      {row_numbers(members), scales, members.count},
                                      shape.m,
                                      shape.n,
                                      shape.first,
                                      static_cast<std::uint32_t>(shape.rank),
                                      static_cast<std::uint32_t>(rows.count),
                                      static_cast<std::uint32_t>(rows.of_member),
                                      of_block};
            };
            const std::string name = std::string(name_of(address.kind)) + "_" + name_of(rows.type);
            const std::uint32_t projected = rows_of_block(shape.rank), expanded = rows_of_block(column_blocks);
            return {rows.count * shape.rank * sizeof(float), [=](void* scratch) {
                        auto* products = static_cast<float*>(scratch);
                        const bool whole_x = shape.n % 4 == 0 && aligned({rows.x});
                        const bool whole_y = shape.m % 4 == 0 && aligned({rows.y});
                        return std::vector<Launch>{
                            launch<Project>("low_rank_project_" + name, ceil_div(rows.count, projected), shape.rank,
                                            {applied(projected), static_cast<const T*>(rows.x), products, whole_x}),
                            launch<Expand>("low_rank_expand_" + name, ceil_div(rows.count, expanded), column_blocks,
                                           {applied(expanded), products, static_cast<T*>(rows.y), root, whole_y})};
                    }};
        });
    });
}

}  // namespace fastes::device
