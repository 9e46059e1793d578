#include "fastes/passes.hpp"

#include <algorithm>
#include <cmath>
#include <vector>

#include "fastes/dispatch.hpp"
#include "fastes/threads.hpp"

namespace fastes {
namespace {

// Components whose factors are in memory at a time, whole chunks of rows at least.
constexpr std::size_t components_together = 256;

// Copies a line of factors into its place in each block; what a block holds beyond the matrix is never stored.
void deal(const float* line, std::size_t length, std::size_t width, std::size_t depth, std::size_t d, float* panel) {
    for (std::size_t i = 0; i < length; i += width, panel += depth * width) {
        std::copy_n(line + i, std::min(width, length - i), panel + d * width);
    }
}

// Multiply-adds of a matrix product that cost what one normal costs.
constexpr double products_per_normal = 64.0;

}  // namespace

float root_scale(std::size_t rank) {
    float scale = 0.0f;
    for_pieces(1, 1.0, [&](std::size_t) { scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(rank))); });
    return scale;
}

void clipup_step(const Address& address, const WeightedRows& rows, std::uint64_t first, std::uint64_t dim,
                 ClipUpStep step) {
    std::vector<double> sums(3 * clipup_blocks(dim));
    step.sums = sums.data();
    std::vector<float> gradient;
    step.gradient = step.velocity_out;
    if (step.velocity_in == step.velocity_out) {
        gradient.resize(dim);
        step.gradient = gradient.data();
    }
    clipup_gradient(address, rows, first, dim, step);
    clipup_apply(dim, clipup_blocks(dim), step);
}

void clipup_gradient(const Address& address, const WeightedRows& rows, std::uint64_t first, std::uint64_t dim,
                     const ClipUpStep& step) {
    const KernelTable& table = kernels();
    for_spans(first, dim, work(address.kind, rows.count, dim),
              [&](const Span& span) { table.clipup_gradient(address, rows, span, step); });
}

void clipup_apply(std::uint64_t dim, std::uint64_t blocks, ClipUpStep step) {
    const KernelTable& table = kernels();
    for_pieces(1, 1.0, [&](std::size_t) { table.clipup_scales(blocks, step); });
    for_spans(0, dim, static_cast<double>(dim), [&](const Span& span) { table.clipup_apply(span, step); });
}

void low_rank_factors(const Address& address, const RowKey* keys, std::size_t count, const LowRank& shape, float* out) {
    const KernelTable& table = kernels();
    const std::size_t elements = shape.factor_elements();
    for_pieces(count, work(address.kind, count, elements),
               [&](std::size_t k) { table.fill(address, keys[k], {shape.first, 0, elements}, out + k * elements); });
}

void low_rank_perturb(const Address& address, const RowKey* keys, const float* scales, std::size_t count,
                      const LowRank& shape, const float* theta, void* out, OutputType type) {
    const KernelTable& table = kernels();
    const std::size_t elements = shape.factor_elements(), size = shape.m * shape.n;
    const std::size_t bytes = size * (type == OutputType::float32 ? 4 : 2);
    const std::size_t blocks = (shape.m + low_rank_rows - 1) / low_rank_rows;
    const std::size_t together = std::min(count, std::max<std::size_t>(1, components_together / shape.rank));
    std::vector<float> factors(together * elements);
    const float root = root_scale(shape.rank);
    for (std::size_t first = 0; first < count; first += together) {
        const std::size_t members = std::min(together, count - first);
        low_rank_factors(address, keys + first, members, shape, factors.data());
        const double products = static_cast<double>(members * shape.rank) * static_cast<double>(size);
        for_pieces(members * blocks, products / products_per_normal, [&](std::size_t piece) {
            const std::size_t k = piece / blocks, begin = piece % blocks * low_rank_rows;
            table.low_rank_perturb({theta, factors.data() + k * elements, shape.m, shape.n, shape.rank, begin,
                                    std::min(shape.m, begin + low_rank_rows), scales[first + k] * root,
                                    static_cast<char*>(out) + (first + k) * bytes, type});
        });
    }
}

void low_rank_sum(const Address& address, const WeightedRows& rows, const LowRank& shape, float* out) {
    const KernelTable& table = kernels();
    const std::size_t m = shape.m, n = shape.n, rank = shape.rank;
    const std::size_t row_blocks = (m + low_rank_rows - 1) / low_rank_rows;
    const std::size_t column_blocks = (n + low_rank_columns - 1) / low_rank_columns;
    const std::size_t chunks = std::max<std::size_t>(1, components_together / (chunk_rows * rank));
    const std::size_t together = std::min(rows.count, chunks * chunk_rows);
    std::vector<float> factors(together * shape.factor_elements());
    std::vector<float> a(together * rank * row_blocks * low_rank_rows);
    std::vector<float> b(together * rank * column_blocks * low_rank_columns);
    const float root = root_scale(rank);
    std::fill_n(out, m * n, 0.0f);
    for (std::size_t first = 0; first < rows.count; first += together) {
        const std::size_t count = std::min(together, rows.count - first), depth = count * rank;
        low_rank_factors(address, rows.keys + first, count, shape, factors.data());
        for_pieces(depth, static_cast<double>(depth * (m + n)) / products_per_normal, [&](std::size_t d) {
            float* line = factors.data() + d * (m + n);
            const float weight = rows.weights[first + d / rank] * root;
            for (std::size_t i = 0; i < m; ++i) line[i] = weight * line[i];
            deal(line, m, low_rank_rows, depth, d, a.data());
            deal(line + m, n, low_rank_columns, depth, d, b.data());
        });
        const double products = static_cast<double>(depth) * static_cast<double>(m) * static_cast<double>(n);
        for_pieces(row_blocks * column_blocks, products / products_per_normal, [&](std::size_t piece) {
            const std::size_t block = piece / column_blocks, column = piece % column_blocks;
            const std::size_t i = block * low_rank_rows, j = column * low_rank_columns;
            table.low_rank_add({a.data() + block * depth * low_rank_rows, b.data() + column * depth * low_rank_columns,
                                depth, chunk_rows * rank, std::min(low_rank_rows, m - i),
                                std::min(low_rank_columns, n - j), out + i * n + j, n});
        });
    }
}

}  // namespace fastes
