// Kernels that take more than one pass over threads.
#pragma once

#include <cstddef>
#include <cstdint>

#include "fastes/kernel_table.hpp"

namespace fastes {

// step.gradient and step.sums are set here; the gradient goes to velocity_out where that may be overwritten.
void clipup_step(const Address& address, const WeightedRows& rows, std::uint64_t first, std::uint64_t dim,
                 ClipUpStep step);

constexpr std::uint64_t clipup_blocks(std::uint64_t dim) {
    return (dim + clipup_block - 1) / clipup_block;
}

// The two passes of clipup_step apart, for parts of theta that begin at multiples of clipup_block elements.
// The first makes step.gradient and step.sums of a part; of the step's numbers it uses l2.
void clipup_gradient(const Address& address, const WeightedRows& rows, std::uint64_t first, std::uint64_t dim,
                     const ClipUpStep& step);

// The second takes the sums of all parts, `blocks` in all, in their order.
void clipup_apply(std::uint64_t dim, std::uint64_t blocks, ClipUpStep step);

// One m x n tensor whose factors begin at element `first` of their stream.
struct LowRank {
    std::size_t m, n, rank;
    std::uint64_t first;

    std::size_t factor_elements() const { return rank * (m + n); }
};

// out: [K][rank][m + n].
void low_rank_factors(const Address& address, const RowKey* keys, std::size_t count, const LowRank& shape, float* out);

// out[k] = theta + scales[k] E_k: [K][m][n] of `type`.
void low_rank_perturb(const Address& address, const RowKey* keys, const float* scales, std::size_t count,
                      const LowRank& shape, const float* theta, void* out, OutputType type);

// out = sum_k weights[k] E_k: [m][n].
void low_rank_sum(const Address& address, const WeightedRows& rows, const LowRank& shape, float* out);

// Rows that a layer's inputs x [count][n] and outputs y [count][m] have, `of_member` neighbours for each member.
struct LayerRows {
    const void* x;
    void* y;
    OutputType type;  // of both
    std::size_t count, of_member;
};

// y[l] += scales[k] E_k x[l], k = l / of_member. numbers: those of the members' rows, to see which neighbours share.
void low_rank_apply(const Address& address, const std::uint32_t* numbers, const RowKey* keys, const float* scales,
                    const LowRank& shape, const LayerRows& rows);

// 1 / sqrt(rank), whatever the caller's rounding is.
float root_scale(std::size_t rank);

}  // namespace fastes
