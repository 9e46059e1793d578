#include "fastes/passes.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "fastes/dispatch.hpp"
#include "fastes/threads.hpp"

namespace fastes {
namespace {

// A block of the sum, which stays in the second cache while its chunks are added: whole tiles of 6 rows and of up to
// 64 columns.
constexpr std::size_t block_rows = 192, block_columns = 64;

// A line of a panel holds whole blocks. Its length is an odd number of cache lines, so that the same place of many lines
// does not fall into one set of a cache.
constexpr std::size_t panel_stride(std::size_t length) {
    return (length + block_rows - 1) / block_rows * block_rows + 16;
}
static_assert(block_rows % block_columns == 0 && panel_stride(1) / 16 % 2 == 1);

// Chunks whose factors are in memory at a time.
constexpr std::size_t chunks_together = 4;
// Multiply-adds of a matrix product that cost what one normal costs.
constexpr double products_per_normal = 64.0;

float root_scale(std::size_t rank) {
    return narrowed(1.0 / std::sqrt(static_cast<double>(rank)));
}

}  // namespace

void clipup_step(const Address& address, const WeightedRows& rows, std::uint64_t first, std::uint64_t dim,
                 ClipUpStep step) {
    const KernelTable& table = kernels();
    std::vector<double> sums(3 * ((dim + clipup_block - 1) / clipup_block));
    step.sums = sums.data();
    std::vector<float> gradient;
    step.gradient = step.velocity_out;
    if (step.velocity_in == step.velocity_out) {
        gradient.resize(dim);
        step.gradient = gradient.data();
    }
    const double normals = static_cast<double>(rows.count) * static_cast<double>(dim);
    for_spans(first, dim, normals, [&](const Span& span) { table.clipup_gradient(address, rows, span, step); });
    for_pieces(1, 1.0, [&](std::size_t) { table.clipup_scales(dim, step); });
    for_spans(first, dim, static_cast<double>(dim), [&](const Span& span) { table.clipup_apply(span, step); });
}

void low_rank_factors(const Address& address, const RowKey* keys, std::size_t count, const LowRank& shape, float* out) {
    const KernelTable& table = kernels();
    const std::size_t elements = shape.factor_elements();
    const double normals = static_cast<double>(count) * static_cast<double>(elements);
    for_pieces(count, normals, [&](std::size_t k) {
        table.fill(address, keys[k], {shape.first, 0, elements}, out + k * elements);
    });
}

void low_rank_perturb(const Address& address, const RowKey* keys, const float* scales, std::size_t count,
                      const LowRank& shape, const float* theta, void* out, OutputType type) {
    const KernelTable& table = kernels();
    const std::size_t elements = shape.factor_elements(), size = shape.m * shape.n;
    const std::size_t bytes = type == OutputType::float32 ? 4 : 2;
    std::vector<float> factors(count * elements);
    low_rank_factors(address, keys, count, shape, factors.data());
    const std::size_t blocks = (shape.m + block_rows - 1) / block_rows;
    const float root = root_scale(shape.rank);
    const double work = static_cast<double>(count * shape.rank) * static_cast<double>(size) / products_per_normal;
    for_pieces(count * blocks, work, [&](std::size_t piece) {
        const std::size_t k = piece / blocks, begin = piece % blocks * block_rows;
        table.low_rank_perturb({theta, factors.data() + k * elements, shape.m, shape.n, shape.rank, begin,
                                std::min(shape.m, begin + block_rows), scales[k] * root,
                                static_cast<char*>(out) + k * size * bytes, type});
    });
}

void low_rank_sum(const Address& address, const WeightedRows& rows, const LowRank& shape, float* out) {
    const KernelTable& table = kernels();
    const std::size_t m = shape.m, n = shape.n, rank = shape.rank;
    const std::size_t a_stride = panel_stride(m), b_stride = panel_stride(n);
    const std::size_t together = std::min(rows.count, chunks_together * chunk_rows);
    std::vector<float> a(together * rank * a_stride), b(together * rank * b_stride);
    const float root = root_scale(rank);
    std::memset(out, 0, m * n * sizeof(float));
    const std::size_t row_blocks = (m + block_rows - 1) / block_rows;
    const std::size_t column_blocks = (n + block_columns - 1) / block_columns;
    for (std::size_t first = 0; first < rows.count; first += together) {
        const std::size_t count = std::min(together, rows.count - first), depth = count * rank;
        for_pieces(depth, static_cast<double>(depth) * static_cast<double>(m + n), [&](std::size_t d) {
            const std::size_t k = first + d / rank;
            const std::uint64_t begin = shape.first + d % rank * (m + n);
            float* line = a.data() + d * a_stride;
            table.fill(address, rows.keys[k], {begin, 0, m}, line);
            const float weight = rows.weights[k] * root;
            for (std::size_t i = 0; i < m; ++i) line[i] = weight * line[i];
            table.fill(address, rows.keys[k], {begin + m, 0, n}, b.data() + d * b_stride);
        });
        const double products = static_cast<double>(depth) * static_cast<double>(m) * static_cast<double>(n);
        for_pieces(row_blocks * column_blocks, products / products_per_normal, [&](std::size_t piece) {
            const std::size_t i = piece / column_blocks * block_rows, j = piece % column_blocks * block_columns;
            table.low_rank_add({a.data(), b.data(), a_stride, b_stride, depth, chunk_rows * rank, i,
                                std::min(m, i + block_rows), j, std::min(n, j + block_columns), out, n});
        });
    }
}

}  // namespace fastes
