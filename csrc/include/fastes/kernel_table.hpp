// What an instruction set's translation unit gives to the rest: plain data and a table of functions.
//
// Nothing here has a body. A function defined in a header and compiled with one instruction set's flags could be
// the copy that the linker keeps for all; so everything with a body lives in `fastes::<instruction set>`.
#pragma once

#include <cstddef>
#include <cstdint>

namespace fastes {

inline constexpr int noise_spec = 1;
// Elements of one (stream, row, generation): 2^32 blocks of 4.
inline constexpr std::uint64_t max_elements = std::uint64_t{1} << 34;

// How words become values: noise specification 1, sections "Normal", "Normal8" and "Rademacher".
enum class Kind { normal, rademacher, normal8 };

// Everything of a noise address but the row and the element, and the kind of noise that is made there.
struct Address {
    std::uint64_t seed;
    std::uint32_t stream;
    std::uint32_t generation;
    Kind kind = Kind::normal;
};

// What a row contributes to the first three rounds of Philox: philox.hpp.
struct RowKey {
    std::uint64_t c0, c2, c3;
};

// A run of elements: [first, first + count) of the noise, [at, at + count) of the arrays.
struct Span {
    std::uint64_t first;
    std::uint64_t at;
    std::uint64_t count;
};

// Rows of a chunk of a weighted sum: noise specification 1, section "Reduction order".
inline constexpr std::size_t chunk_rows = 64;

// Weights and rows of a weighted sum, K of each.
struct WeightedRows {
    const RowKey* keys;
    const float* weights;
    std::size_t count;
};

enum class OutputType { float32, float16, bfloat16 };

struct Perturb {
    const float* theta;         // [D]
    const std::uint32_t* rows;  // [K], to see which neighbours share their noise
    const RowKey* keys;         // [K]
    const float* scales;        // [K]
    std::size_t count;          // K
    void* out;                  // [K, D]
    std::uint64_t stride;       // D
    OutputType type;
};

// One optimizer step on theta for the gradient -g + l2 theta, g the weighted sum. `decay` multiplies theta first
// (1 - lr weight_decay, decoupled). State arrays are read from `*_in` and written to `*_out`, which may be the same.
struct SgdStep {
    const float *theta_in, *momentum_in;
    float *theta_out, *momentum_out;
    float lr, momentum, l2, decay;
    bool nesterov;
};

struct AdamStep {
    const float *theta_in, *m_in, *v_in;
    float *theta_out, *m_out, *v_out;
    float step;  // lr / (1 - beta1^t)
    float beta1, one_minus_beta1, beta2, one_minus_beta2;
    float v_scale;  // 1 / sqrt(1 - beta2^t)
    float epsilon, l2, decay;
};

// ClipUp goes over the parameters twice: the gradient with its sums, then, with what the sums give, the step.
struct ClipUpStep {
    const float *theta_in, *velocity_in;
    float *theta_out, *velocity_out;
    float* gradient;  // [D], uphill: g - l2 theta; may be velocity_out unless that is velocity_in
    double* sums;     // [ceil(D / clipup_block)][3]: of d d, d v and v v
    double lr, momentum, max_speed;
    float l2, decay;
    float clipped_momentum, clipped_rate;  // found between the passes
};

// Elements of one partial sum of ClipUp's norms; spans end on multiples of it.
inline constexpr std::uint64_t clipup_block = 1024;

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

struct KernelTable {
    const char* name;
    void (*row_keys)(const Address&, const std::uint32_t* rows, std::size_t count, RowKey* out);
    void (*philox)(const std::uint32_t* counters, std::size_t count, std::uint64_t key, int rounds, std::uint32_t* out);
    void (*fill)(const Address&, const RowKey&, const Span&, float* out);
    void (*perturb)(const Address&, const Perturb&, const Span&);
    void (*weighted_sum)(const Address&, const WeightedRows&, const Span&, float* out);
    void (*sgd_step)(const Address&, const WeightedRows&, const Span&, const SgdStep&);
    void (*adam_step)(const Address&, const WeightedRows&, const Span&, const AdamStep&);
    void (*clipup_gradient)(const Address&, const WeightedRows&, const Span&, const ClipUpStep&);
    void (*clipup_scales)(std::uint64_t dim, ClipUpStep&);
    void (*clipup_apply)(const Span&, const ClipUpStep&);
    void (*low_rank_perturb)(const LowRankMember&);
    void (*low_rank_add)(const LowRankBlock&);
    // The two halves of the transform by themselves, for the tests that go through all 2^32 words.
    void (*radius)(const std::uint32_t* words, std::size_t count, float* out);
    void (*direction)(const std::uint32_t* words, std::size_t count, float* first, float* second);
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
