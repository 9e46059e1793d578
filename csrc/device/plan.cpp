#include "fastes/plan.hpp"

#include <algorithm>
#include <cmath>
#include <initializer_list>
#include <stdexcept>
#include <type_traits>
#include <utility>

#include "fastes/threads.hpp"

#define FASTES_ISA isa_device
#include "fastes/device/list.hpp"

namespace fastes::device {
namespace {

// Times over that a grid should fill a GPU, so that its last blocks, which do not, are a small part of it.
constexpr std::uint64_t fillings = 4;
constexpr std::uint64_t largest_grid_y = 65535;

std::uint64_t ceil_div(std::uint64_t a, std::uint64_t b) {
    return (a + b - 1) / b;
}

const char* name_of(Kind kind) {
    return kind == Kind::normal ? "normal" : kind == Kind::rademacher ? "rademacher" : "normal8";
}

const char* name_of(OutputType type) {
    return type == OutputType::float32 ? "float32" : type == OutputType::float16 ? "float16" : "bfloat16";
}

template <class Body>
Launch launch(std::string kernel, std::uint64_t grid_x, std::uint64_t grid_y, const typename Body::Params& parameters) {
    static_assert(std::is_trivially_copyable_v<typename Body::Params>);
    const auto* bytes = reinterpret_cast<const std::byte*>(&parameters);
    return {std::move(kernel),
            static_cast<std::uint32_t>(grid_x),
            static_cast<std::uint32_t>(grid_y),
            Body::threads,
            {bytes, bytes + sizeof parameters}};
}

// body.template operator()<Quad, Share>() of the kind.
template <class Body>
auto with_kind(Kind kind, const Body& body) {
    switch (kind) {
        case Kind::rademacher: return body.template operator()<RademacherQuad, RademacherShare>();
        case Kind::normal8: return body.template operator()<Normal8Quad, Normal8Share>();
        case Kind::normal: break;
    }
    return body.template operator()<NormalQuad, NormalShare>();
}

template <class Body>
auto with_type(OutputType type, const Body& body) {
    switch (type) {
        case OutputType::float16: return body.template operator()<float16>();
        case OutputType::bfloat16: return body.template operator()<bfloat16>();
        case OutputType::float32: break;
    }
    return body.template operator()<float>();
}

bool aligned(std::initializer_list<const void*> pointers) {
    return std::all_of(pointers.begin(), pointers.end(),
                       [](const void* p) { return reinterpret_cast<std::uintptr_t>(p) % 16 == 0; });
}

RowNumbers row_numbers(const Rows& rows) {
    return {rows.numbers, rows.words, rows.single};
}

Plan without_scratch(Launch only) {
    return {0, [only = std::move(only)](void*) { return std::vector<Launch>{only}; }};
}

// Threads that fill a GPU as often as that.
std::uint64_t filling(const Processor& processor, std::uint64_t resident_threads) {
    return processor.multiprocessors * resident_threads * fillings;
}

// Members that one row of blocks takes, an even number so that mirrored pairs stay together: more where there is work
// enough for all multiprocessors, because theta is then read less often.
std::uint64_t members_of_block(const Processor& processor, std::uint64_t threads, std::uint64_t members,
                               std::uint64_t resident_threads) {
    const std::uint64_t wanted = filling(processor, resident_threads);
    std::uint64_t together = 8;
    while (together > 2 && threads * ceil_div(members, together) < wanted) together /= 2;
    return std::max(together, ceil_div(ceil_div(members, largest_grid_y), 2) * 2);
}

// What becomes of a sum: the names of the kernels that hand it on, and the output's value.
template <class Output>
struct Ending {
    const char* name;
    Output output;
    bool aligned;
};

// Chunks of a sum that are split over blocks: how many have their totals in memory at a time. After the totals comes,
// where they do not all fit, the sum so far.
struct Split {
    std::uint64_t dim, chunks, together;

    Split(const Processor& processor, std::uint64_t dim_, std::uint64_t chunks_, std::uint64_t limit = largest_grid_y)
        : dim(dim_),
          chunks(chunks_),
          together(std::clamp<std::uint64_t>(processor.scratch_bytes / (stride() * sizeof(float)), 1,
                                             std::min(chunks, limit))) {}

    std::uint64_t stride() const { return ceil_div(dim, 4) * 4; }
    std::uint64_t floats() const { return stride() * (together + (together < chunks ? 1 : 0)); }
};

// The launch that adds totals of chunks in order, after the sum so far: to the output where they are the last of all.
template <class Output>
Launch combine(const Split& split, const Ending<Output>& ending, float* totals, std::uint64_t chunk,
               std::uint64_t count) {
    float* so_far = totals + split.together * split.stride();
    const float* before = chunk == 0 ? nullptr : so_far;
    const std::uint64_t blocks = ceil_div(ceil_div(split.dim, 4), CombineTotals<Output>::threads);
    if (chunk + count < split.chunks) {
        return launch<CombineTotals<Copy>>("weighted_sum_combine", blocks, 1,
                                           {totals, before, count, split.stride(), split.dim, Copy{so_far}, true});
    }
    return launch<CombineTotals<Output>>(
        std::string(ending.name) + "_combine", blocks, 1,
        {totals, before, count, split.stride(), split.dim, ending.output, ending.aligned});
}

// body(first chunk, chunks) for those that are in memory at a time.
template <class Body>
void for_chunks(const Split& split, const Body& body) {
    for (std::uint64_t chunk = 0; chunk < split.chunks; chunk += split.together) {
        body(chunk, std::min(split.together, split.chunks - chunk));
    }
}

// Launches that make totals of chunks, make(launches, first chunk, chunks) each time, and add them in order.
template <class Output, class Make>
std::vector<Launch> combined(const Split& split, const Ending<Output>& ending, float* totals, const Make& make) {
    std::vector<Launch> launches;
    for_chunks(split, [&](std::uint64_t chunk, std::uint64_t count) {
        make(launches, chunk, count);
        launches.push_back(combine(split, ending, totals, chunk, count));
    });
    return launches;
}

template <class Output>
Plan sum(const Processor& processor, const Address& address, const Weighted& weighted, std::uint64_t first,
         std::uint64_t dim, const Ending<Output>& ending) {
    return with_kind(address.kind, [&]<class Quad, class Share>() -> Plan {
        constexpr std::uint64_t block_elements = Share::Noise::block_elements;
        const std::uint64_t noise_blocks = ceil_div(first % block_elements + dim, block_elements);
        const std::uint64_t grid_x = ceil_div(noise_blocks, Share::blocks_of_grid_block);
        const std::uint64_t chunks = ceil_div(weighted.rows.count, chunk_rows);
        const NoiseAddress noise(address);
        const WeightedNumbers rows{row_numbers(weighted.rows), weighted.weights, weighted.rows.count};
        const std::string kind = name_of(address.kind);
        const bool quads_aligned = first % 4 == 0;
        if (chunks < 2 || grid_x * sum_threads >= filling(processor, Share::resident_threads)) {
            return without_scratch(launch<WeightedSum<Share, Output>>(
                std::string(ending.name) + "_" + kind, grid_x, 1,
                {noise, rows, first, dim, ending.output, quads_aligned && ending.aligned}));
        }
        const Split split(processor, dim, chunks);
        return {split.floats() * sizeof(float), [=](void* scratch) {
                    auto* totals = static_cast<float*>(scratch);
                    return combined(split, ending, totals,
                                    [&](auto& launches, std::uint64_t chunk, std::uint64_t count) {
                                        launches.push_back(launch<ChunkTotals<Share>>(
                                            "chunk_totals_" + kind, grid_x, count,
                                            {noise, rows, first, dim, chunk, totals, split.stride(), quads_aligned}));
                                    });
                }};
    });
}

// Two sums of the same noise, the second of its squares less 1. The first is handed on before the second.
template <class Share, class Output, class SquareOutput>
Plan both_sums(const Processor& processor, const Address& address, const Weighted& weighted,
               const float* square_weights, std::uint64_t first, std::uint64_t dim, const std::string& name,
               const Ending<Output>& ending, const Ending<SquareOutput>& square_ending) {
    const std::uint64_t noise_blocks =
        ceil_div(first % Share::Noise::block_elements + dim, Share::Noise::block_elements);
    const std::uint64_t grid_x = ceil_div(noise_blocks, Share::blocks_of_grid_block);
    const std::uint64_t chunks = ceil_div(weighted.rows.count, chunk_rows);
    const NoiseAddress noise(address);
    const WeightedNumbers rows{row_numbers(weighted.rows), weighted.weights, weighted.rows.count};
    const std::string kind = name_of(address.kind);
    const bool quads_aligned = first % 4 == 0;
    if (chunks < 2 || grid_x * sum_threads >= filling(processor, Share::resident_threads)) {
        return without_scratch(launch<WeightedSums<Share, Output, SquareOutput>>(
            name + "_" + kind, grid_x, 1,
            {noise, rows, square_weights, first, dim, ending.output, square_ending.output,
             quads_aligned && ending.aligned && square_ending.aligned}));
    }
    const Split split(processor, dim, chunks);
    return {2 * split.floats() * sizeof(float), [=](void* scratch) {
                float *totals = static_cast<float*>(scratch), *square_totals = totals + split.floats();
                std::vector<Launch> launches;
                for_chunks(split, [&](std::uint64_t chunk, std::uint64_t count) {
                    launches.push_back(
                        launch<ChunkTotalsOfBoth<Share>>("chunk_totals_of_both_" + kind, grid_x, count,
                                                         {noise, rows, square_weights, first, dim, chunk, totals,
                                                          square_totals, split.stride(), quads_aligned}));
                    launches.push_back(combine(split, ending, totals, chunk, count));
                    launches.push_back(combine(split, square_ending, square_totals, chunk, count));
                });
                return launches;
            }};
}

template <class Output, class SquareOutput>
Plan sums(const Processor& processor, const Address& address, const Weighted& weighted, const float* square_weights,
          std::uint64_t first, std::uint64_t dim, const std::string& name, const Ending<Output>& ending,
          const Ending<SquareOutput>& square_ending) {
    if (address.kind == Kind::normal) {
        return both_sums<NormalShare>(processor, address, weighted, square_weights, first, dim, name, ending,
                                      square_ending);
    }
    if (address.kind == Kind::normal8) {
        return both_sums<Normal8Share>(processor, address, weighted, square_weights, first, dim, name, ending,
                                       square_ending);
    }
    // Signs: the second is the sum of no totals.
    const Plan plan = sum(processor, address, weighted, first, dim, ending);
    const Launch nothing = launch<CombineTotals<SquareOutput>>(
        std::string(square_ending.name) + "_combine", ceil_div(ceil_div(dim, 4), CombineTotals<SquareOutput>::threads),
        1, {nullptr, nullptr, 0, 0, dim, square_ending.output, square_ending.aligned});
    return {plan.scratch_bytes, [=](void* scratch) {
                std::vector<Launch> launches = plan.launches(scratch);
                launches.push_back(nothing);
                return launches;
            }};
}

template <class Output>
Plan applied(const float* gradient, std::uint64_t dim, const Ending<Output>& ending) {
    using Body = ApplyGradient<Output>;
    return without_scratch(launch<Body>(ending.name, ceil_div(ceil_div(dim, 4), Body::threads), 1,
                                        {gradient, dim, ending.output, ending.aligned && aligned({gradient})}));
}

// 1 / sqrt(rank) in the default floating-point environment.
float root_scale(std::size_t rank) {
    float scale = 0.0f;
    for_pieces(1, 1.0, [&](std::size_t) { scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(rank))); });
    return scale;
}

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

// With a sigma for each element or without.
template <class Body, class T>
Launch perturbing(const Processor& processor, const Address& address, const Rows& rows, std::uint64_t first,
                  const Perturb& args, const char* name) {
    const QuadSpan span{first, args.stride};
    const std::uint64_t together = members_of_block(processor, span.quads(), rows.count, Body::resident_threads);
    const bool whole =
        first % 4 == 0 && (rows.count == 1 || args.stride % 4 == 0) && aligned({args.theta, args.out, args.sigma});
    return launch<Body>(std::string(name) + "_" + name_of(address.kind) + "_" + name_of(args.type),
                        ceil_div(span.quads(), Body::threads), ceil_div(rows.count, together),
                        {NoiseAddress(address),
                         {row_numbers(rows), args.scales, rows.count},
                         span,
                         together,
                         args.theta,
                         static_cast<T*>(args.out),
                         whole,
                         args.sigma});
}

}  // namespace

Plan fill(const Address& address, const Rows& rows, std::uint64_t first, std::uint64_t dim, float* out) {
    return with_kind(address.kind, [&]<class Quad, class Share>() {
        const QuadSpan span{first, dim};
        const std::uint64_t rows_of_block = ceil_div(rows.count, largest_grid_y);
        const bool whole = first % 4 == 0 && (rows.count == 1 || dim % 4 == 0) && aligned({out});
        return without_scratch(launch<FillRows<Quad>>(
            std::string("fill_") + name_of(address.kind), ceil_div(span.quads(), FillRows<Quad>::threads),
            ceil_div(rows.count, std::max<std::uint64_t>(rows_of_block, 1)),
            {NoiseAddress(address), row_numbers(rows), span, rows.count, rows_of_block, out, whole}));
    });
}

Plan perturb(const Processor& processor, const Address& address, const Rows& rows, std::uint64_t first,
             const Perturb& args) {
    return with_kind(address.kind, [&]<class Quad, class Share>() {
        return with_type(args.type, [&]<class T>() {
            if (args.sigma == nullptr) {
                return without_scratch(
                    perturbing<PerturbMembers<Quad, T>, T>(processor, address, rows, first, args, "perturb"));
            }
            return without_scratch(
                perturbing<PerturbMembers<Quad, T, true>, T>(processor, address, rows, first, args, "perturb_each"));
        });
    });
}

Plan weighted_sum(const Processor& processor, const Address& address, const Weighted& rows, std::uint64_t first,
                  std::uint64_t dim, float* out) {
    return sum(processor, address, rows, first, dim, Ending<Copy>{"weighted_sum", {out}, aligned({out})});
}

Plan weighted_sums(const Processor& processor, const Address& address, const Weighted& rows,
                   const float* square_weights, std::uint64_t first, std::uint64_t dim, float* g, float* h) {
    return sums(processor, address, rows, square_weights, first, dim, "weighted_sums",
                Ending<Copy>{"weighted_sum", {g}, aligned({g})}, Ending<Copy>{"weighted_sum", {h}, aligned({h})});
}

Plan snes_step(const Processor& processor, const Address& address, const Weighted& rows, std::uint64_t first,
               std::uint64_t dim, const SnesStep& step) {
    const bool whole = aligned({step.theta_in, step.sigma_in, step.theta_out, step.sigma_out});
    return sums(processor, address, rows, rows.weights, first, dim, "snes_step",
                Ending<SnesMeanOutput>{"snes_mean", {step}, whole},
                Ending<SnesSpreadOutput>{"snes_spread", {step}, whole});
}

Plan sgd_apply(const float* gradient, std::uint64_t dim, const SgdStep& step) {
    const bool whole = aligned({step.theta_in, step.theta_out, step.momentum_in, step.momentum_out});
    return applied(gradient, dim, Ending<SgdOutput>{"sgd_apply", {step}, whole});
}

Plan adam_apply(const float* gradient, std::uint64_t dim, const AdamStep& step) {
    const bool whole = aligned({step.theta_in, step.m_in, step.v_in, step.theta_out, step.m_out, step.v_out});
    return applied(gradient, dim, Ending<AdamOutput>{"adam_apply", {step}, whole});
}

Plan sgd_step(const Processor& processor, const Address& address, const Weighted& rows, std::uint64_t first,
              std::uint64_t dim, const SgdStep& step) {
    const bool whole = aligned({step.theta_in, step.theta_out, step.momentum_in, step.momentum_out});
    return sum(processor, address, rows, first, dim, Ending<SgdOutput>{"sgd_step", {step}, whole});
}

Plan adam_step(const Processor& processor, const Address& address, const Weighted& rows, std::uint64_t first,
               std::uint64_t dim, const AdamStep& step) {
    const bool whole = aligned({step.theta_in, step.m_in, step.v_in, step.theta_out, step.m_out, step.v_out});
    return sum(processor, address, rows, first, dim, Ending<AdamOutput>{"adam_step", {step}, whole});
}

// Scratch: what the sum needs, the partial sums of the norms, the two scales, and the gradient where it has no place
// in velocity_out.
Plan clipup_step(const Processor& processor, const Address& address, const Weighted& rows, std::uint64_t first,
                 std::uint64_t dim, const ClipUpStep& given) {
    const std::uint64_t blocks = ceil_div(dim, clipup_block);
    const bool own_gradient = given.velocity_in == given.velocity_out;
    const auto gradient_plan = [=](float* gradient) {
        ClipUpStep step = given;
        step.gradient = gradient;
        return sum(processor, address, rows, first, dim,
                   Ending<GradientOutput>{"clipup_gradient", {step}, aligned({step.theta_in, gradient})});
    };
    const auto padded = [](std::uint64_t bytes) { return ceil_div(bytes, 16) * 16; };
    const std::uint64_t sum_bytes = padded(gradient_plan(nullptr).scratch_bytes);
    const std::uint64_t norm_bytes = padded(3 * blocks * sizeof(double)), scale_bytes = 16;
    const std::uint64_t gradient_bytes = own_gradient ? padded(dim * sizeof(float)) : 0;
    return {
        sum_bytes + norm_bytes + scale_bytes + gradient_bytes, [=](void* scratch) {
            auto* memory = static_cast<std::byte*>(scratch);
            ClipUpStep step = given;
            step.sums = reinterpret_cast<double*>(memory + sum_bytes);
            auto* scales = reinterpret_cast<float*>(memory + sum_bytes + norm_bytes);
            auto* own = reinterpret_cast<float*>(memory + sum_bytes + norm_bytes + scale_bytes);
            step.gradient = own_gradient ? own : step.velocity_out;
            const bool whole =
                aligned({step.theta_in, step.theta_out, step.velocity_in, step.velocity_out, step.gradient});
            std::vector<Launch> launches = gradient_plan(step.gradient).launches(scratch);
            launches.push_back(launch<ClipUpSums>("clipup_sums", ceil_div(blocks, ClipUpSums::blocks), 1, {step, dim}));
            launches.push_back(launch<ClipUpScales>("clipup_scales", 1, 1, {step, dim, scales}));
            launches.push_back(launch<ClipUpApply>("clipup_apply", ceil_div(ceil_div(dim, 4), ClipUpApply::threads), 1,
                                                   {step, dim, scales, whole}));
            return launches;
        }};
}

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

Plan philox(const std::uint32_t* counters, std::uint64_t count, std::uint64_t key, int rounds, std::uint32_t* out) {
    return without_scratch(launch<PhiloxCounters>(
        "philox", ceil_div(count, PhiloxCounters::threads), 1,
        {counters, out, count, static_cast<std::uint32_t>(key), static_cast<std::uint32_t>(key >> 32), rounds}));
}

std::uint64_t words_only_size(std::uint64_t dim) {
    return ceil_div(ceil_div(dim, 4), WordsOnly::threads) * WordsOnly::threads;
}

Plan words_only(const Address& address, const Weighted& rows, std::uint64_t dim, std::uint32_t* out) {
    return without_scratch(
        launch<WordsOnly>("words_only", words_only_size(dim) / WordsOnly::threads, 1,
                          {NoiseAddress(address), {row_numbers(rows.rows), rows.weights, rows.rows.count}, out}));
}

std::uint64_t transform_digests_size(std::uint64_t stride) {
    return 2 * ceil_div(ceil_div(std::uint64_t{1} << 32, stride), TransformDigests::chunk_words);
}

Plan transform_digests(std::uint64_t stride, std::uint64_t* out) {
    const std::uint64_t total = ceil_div(std::uint64_t{1} << 32, stride);
    const std::uint64_t chunks = ceil_div(total, TransformDigests::chunk_words);
    return without_scratch(launch<TransformDigests>("transform_digests", ceil_div(chunks, TransformDigests::threads), 1,
                                                    {stride, total, out}));
}

}  // namespace fastes::device
