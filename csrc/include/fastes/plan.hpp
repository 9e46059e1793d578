// What a GPU is asked to do: the launches of kernels that make a result. Plans are made on the CPU, whether or not
// there is a GPU; the extension _cuda, CuPy or the tests' simulation carries them out. Arrays are in the GPU's memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "fastes/episodes.hpp"
#include "fastes/kernel_table.hpp"
#include "fastes/passes.hpp"

namespace fastes::device {

// One launch, in the order of the list; `parameters` is the bytes of the kernel's only argument.
struct Launch {
    std::string kernel;
    std::uint32_t grid_x, grid_y, threads;
    std::vector<std::byte> parameters;
};

// The launches once there is scratch memory, whose contents do not matter before and after. It has to begin on 16
// bytes.
struct Plan {
    std::size_t scratch_bytes = 0;
    std::function<std::vector<Launch>(void* scratch)> launches;
};

// What decides how work is cut, never what results are.
struct Processor {
    std::uint32_t multiprocessors;
    std::uint64_t scratch_bytes = std::uint64_t{64}
                                  << 20;  // of each kind of partial result that is in memory at a time
};

// K row numbers in the GPU's memory, as uint32 or as int64 whose lower halves count; or one row that is known here.
struct Rows {
    const std::uint32_t* numbers;
    std::uint32_t words;  // of a number: 1 or 2
    std::uint64_t count;
    std::uint32_t single = 0;
};

struct Weighted {
    Rows rows;
    const float* weights;
};

Plan fill(const Address& address, const Rows& rows, std::uint64_t first, std::uint64_t dim, float* out);

// `rows` and `keys` of Perturb are not used.
Plan perturb(const Processor& processor, const Address& address, const Rows& rows, std::uint64_t first,
             const Perturb& args);

Plan weighted_sum(const Processor& processor, const Address& address, const Weighted& rows, std::uint64_t first,
                  std::uint64_t dim, float* out);
Plan weighted_sums(const Processor& processor, const Address& address, const Weighted& rows,
                   const float* square_weights, std::uint64_t first, std::uint64_t dim, float* g, float* h);
Plan snes_step(const Processor& processor, const Address& address, const Weighted& rows, std::uint64_t first,
               std::uint64_t dim, const SnesStep& step);
Plan sgd_apply(const float* gradient, std::uint64_t dim, const SgdStep& step);
Plan adam_apply(const float* gradient, std::uint64_t dim, const AdamStep& step);
Plan sgd_step(const Processor& processor, const Address& address, const Weighted& rows, std::uint64_t first,
              std::uint64_t dim, const SgdStep& step);
Plan adam_step(const Processor& processor, const Address& address, const Weighted& rows, std::uint64_t first,
               std::uint64_t dim, const AdamStep& step);
Plan clipup_step(const Processor& processor, const Address& address, const Weighted& rows, std::uint64_t first,
                 std::uint64_t dim, const ClipUpStep& step);

// Low rank throws std::invalid_argument for a rank above 2^25.
Plan low_rank_perturb(const Processor& processor, const Address& address, const Rows& rows, const LowRank& shape,
                      const float* theta, const float* scales, void* out, OutputType type);
Plan low_rank_sum(const Processor& processor, const Address& address, const Weighted& rows, const LowRank& shape,
                  float* out);

// Throws std::invalid_argument for more than a grid can have blocks for.
Plan low_rank_apply(const Processor& processor, const Address& address, const Rows& members, const float* scales,
                    const LowRank& shape, const LayerRows& rows);

Plan environment_step(Dynamics dynamics, const EpisodeStep& step);

Plan philox(const std::uint32_t* counters, std::uint64_t count, std::uint64_t key, int rounds, std::uint32_t* out);

// The words of a weighted sum of `dim` normals, folded by exclusive or: one of words_only_size() a thread.
std::uint64_t words_only_size(std::uint64_t dim);
Plan words_only(const Address& address, const Weighted& rows, std::uint64_t dim, std::uint32_t* out);

// Digests of radius and direction of every stride-th word, in pairs that add up to those of
// csrc/testdata/exhaustive.txt.
std::uint64_t transform_digests_size(std::uint64_t stride);
Plan transform_digests(std::uint64_t stride, std::uint64_t* out);

}  // namespace fastes::device
