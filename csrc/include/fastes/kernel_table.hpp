// What an instruction set's translation unit gives to the rest: plain data and a table of functions.
//
// Nothing here has a body. A function defined in a header and compiled with one instruction set's flags could be
// the copy that the linker keeps for all; so everything with a body lives in `fastes::<instruction set>`.
#pragma once

#include <cstddef>
#include <cstdint>

#include "fastes/address.hpp"
#include "fastes/episodes.hpp"
#include "fastes/mlp_shape.hpp"
#include "fastes/steps.hpp"

namespace fastes {

struct Perturb {
    const float* theta;         // [D]
    const std::uint32_t* rows;  // [K], to see which neighbours share their noise
    const RowKey* keys;         // [K]
    const float* scales;        // [K]
    std::size_t count;          // K
    void* out;                  // [K, D]
    std::uint64_t stride;       // D
    OutputType type;
    const float* sigma = nullptr;  // [D], or none: 1
};

// A block of a sum of low-rank perturbations, which stays in the second cache while its chunks are added.
inline constexpr std::size_t low_rank_rows = 192, low_rank_columns = 64;

// out[i, j] += sum_d a[d][i] b[d][j], the components d in chunks whose totals are added in order.
struct LowRankBlock {
    const float* a;             // [depth][low_rank_rows], weights multiplied in
    const float* b;             // [depth][low_rank_columns]
    std::size_t depth, chunk;   // components in all, and of one chunk of rows
    std::size_t rows, columns;  // of the block, fewer at the edges of the matrix
    float* out;
    std::size_t out_stride;
};

// out[i, j] = theta[i, j] + scale sum_a A[i, a] B[j, a] for some i and all j.
struct LowRankMember {
    const float* theta;    // [m][n]
    const float* factors;  // [rank][m + n]
    std::size_t m, n, rank, rows_begin, rows_end;
    float scale;
    void* out;  // [m][n]
    OutputType type;
};

// Elements of a column of A that low_rank_apply makes at a time; chains of a product with a column of B.
inline constexpr std::size_t low_rank_tile = 2048, low_rank_chains = 1024, low_rank_padding = 16;

// y[l] += scale_l sum_a (x[l] . B_a) A_a for some rows of x whose members have the same row of noise.
struct LowRankInputs {
    RowKey key;
    std::size_t m, n, rank;
    std::uint64_t first;  // element of the factors
    const void* x;        // [count][n]
    void* y;              // [count][m]
    OutputType type;      // of both
    std::size_t count;
    std::size_t at, of_member;  // row l is of member (at + l) / of_member
    const float* scales;        // of all members
    float root;                 // 1 / sqrt(rank)
    float* scratch;             // [max(n, rank low_rank_tile) + low_rank_padding + count rank]
};

struct KernelTable {
    const char* name;
    void (*row_keys)(const Address&, const std::uint32_t* rows, std::size_t count, RowKey* out);
    void (*philox)(const std::uint32_t* counters, std::size_t count, std::uint64_t key, int rounds, std::uint32_t* out);
    void (*fill)(const Address&, const RowKey&, const Span&, float* out);
    void (*perturb)(const Address&, const Perturb&, const Span&);
    void (*weighted_sum)(const Address&, const WeightedRows&, const Span&, float* out);
    void (*weighted_sums)(const Address&, const WeightedRows&, const float* square_weights, const Span&, float* g,
                          float* h);
    void (*sgd_step)(const Address&, const WeightedRows&, const Span&, const SgdStep&);
    void (*adam_step)(const Address&, const WeightedRows&, const Span&, const AdamStep&);
    void (*snes_step)(const Address&, const WeightedRows&, const Span&, const SnesStep&);
    void (*clipup_gradient)(const Address&, const WeightedRows&, const Span&, const ClipUpStep&);
    void (*clipup_scales)(std::uint64_t blocks, ClipUpStep&);
    void (*clipup_apply)(const Span&, const ClipUpStep&);
    // Steps along a gradient that is there: uphill, as a weighted sum is.
    void (*sgd_apply)(const float* gradient, const Span&, const SgdStep&);
    void (*adam_apply)(const float* gradient, const Span&, const AdamStep&);
    void (*clipup_sums)(const float* gradient, const Span&, const ClipUpStep&);
    void (*low_rank_perturb)(const LowRankMember&);
    void (*low_rank_add)(const LowRankBlock&);
    void (*low_rank_apply)(const Address&, const LowRankInputs&);
    // packed: shape's packed_floats() in all. One member each.
    void (*mlp_pack)(const MlpShape&, const float* theta, float* packed);
    void (*mlp_forward)(const MlpShape&, const float* packed, std::size_t rows, const float* x, float* out,
                        float* scratch);
    // Episodes first to last - 1.
    void (*environment_step)(Dynamics, const EpisodeStep&, std::uint64_t first, std::uint64_t last);
    // The two halves of the transform and the exponential by themselves, for the tests that go through all floats.
    void (*radius)(const std::uint32_t* words, std::size_t count, float* out);
    void (*direction)(const std::uint32_t* words, std::size_t count, float* first, float* second);
    void (*exponential)(const float* x, std::size_t count, float* out);
    // Ceiling of what any transform could reach: the words of a weighted sum, folded by exclusive or.
    void (*words_only)(const Address&, const WeightedRows&, const Span&, std::uint32_t* out);
};

extern const KernelTable scalar_kernels;
#if defined(FASTES_X86)
extern const KernelTable avx2_kernels;
extern const KernelTable avx512_kernels;
extern const KernelTable avx512vbmi_kernels;
#endif
#if defined(FASTES_NEON)
extern const KernelTable neon_kernels;
#endif

}  // namespace fastes
