// What a weighted sum of normals costs without exact rounding: the project's Philox with the hardware's approximate
// logarithm, root, sine and cosine. To compare with only: its bits are those of one kind of GPU.
#define FASTES_ISA isa_fast

#include "fastes/philox.hpp"
#include "simd/scalar.hpp"

namespace {

using namespace fastes;

constexpr std::uint32_t threads = 256, rows_together = 64;

struct Row {
    RowKey key;
    float weight;
};

// The keys of seed FAST_SEED, known when this is compiled. RoundKeys has a constructor for the CPU only.
__device__ __forceinline__ void set_keys(RoundKeys& keys) {
#pragma unroll
    for (int round = 0; round < philox_rounds; ++round) {
        keys.k0[round] = static_cast<std::uint32_t>(FAST_SEED) + philox_w0 * static_cast<std::uint32_t>(round);
        keys.k1[round] = philox_w1 * static_cast<std::uint32_t>(round);
    }
}

}  // namespace

// out[j] = sum_k weights[k] z[k, j] for rows 0 .. row_count - 1; dim a multiple of 4.
extern "C" __global__ void __launch_bounds__(threads)
    fast_weighted_sum(const float* weights, std::uint32_t row_count, float* out, std::uint64_t dim) {
    __shared__ Row rows[rows_together];
    alignas(RoundKeys) unsigned char memory[sizeof(RoundKeys)];
    RoundKeys& keys = *reinterpret_cast<RoundKeys*>(memory);
    set_keys(keys);
    const std::uint32_t number = blockIdx.x * threads + threadIdx.x;
    const BlockKeys<ScalarLanes> block(number, 0, keys);
    float sum[4] = {};
    for (std::uint32_t first = 0; first < row_count; first += rows_together) {
        const std::uint32_t count = min(rows_together, row_count - first);
        if (threadIdx.x < count)
            rows[threadIdx.x] = {row_key(first + threadIdx.x, 0, keys), weights[first + threadIdx.x]};
        __syncthreads();
        for (std::uint32_t k = 0; k < count; ++k) {
            std::uint32_t words[1][4];
            philox_words<ScalarLanes, 1>(&block, rows[k].key, keys, words);
            for (int pair = 0; pair < 2; ++pair) {
                const float u = __uint2float_rn(words[0][2 * pair]) * 0x1p-32f + 0x1p-33f;
                const float radius = sqrtf(-2.0f * __logf(u));  // approximate under --use_fast_math
                float sine, cosine;
                __sincosf(__uint2float_rn(words[0][2 * pair + 1]) * 0x1.921fb6p-30f, &sine, &cosine);
                sum[2 * pair] += rows[k].weight * radius * sine;
                sum[2 * pair + 1] += rows[k].weight * radius * cosine;
            }
        }
        __syncthreads();
    }
    if (std::uint64_t{number} * 4 < dim) {
        *reinterpret_cast<float4*>(out + std::uint64_t{number} * 4) = make_float4(sum[0], sum[1], sum[2], sum[3]);
    }
}
