#include "fastes/plan.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <initializer_list>
#include <limits>
#include <type_traits>
#include <utility>

#include "fastes/threads.hpp"

#define FASTES_ISA isa_device
#include "fastes/device/list.hpp"

namespace fastes::device {
namespace {

// Threads that a multiprocessor has work for at a time.
constexpr std::uint64_t resident_threads = 2048;
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

// Members that one row of blocks takes, an even number so that mirrored pairs stay together: more where there is work
// enough for all multiprocessors, because theta is then read less often.
std::uint64_t members_of_block(const Processor& processor, std::uint64_t threads, std::uint64_t members) {
    const std::uint64_t wanted = processor.multiprocessors * resident_threads * 4;  // a few waves of blocks
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

// Elements of the totals of one chunk in memory.
std::uint64_t totals_stride(std::uint64_t dim) {
    return ceil_div(dim, 4) * 4;
}

// Chunks whose totals are in memory at a time, where chunks are split over blocks.
std::uint64_t chunks_together(const Processor& processor, std::uint64_t dim, std::uint64_t chunks) {
    return std::clamp<std::uint64_t>(processor.totals_bytes / (totals_stride(dim) * sizeof(float)), 1,
                                     std::min(chunks, largest_grid_y));
}

// Scratch of a sum whose chunks are split: the totals, then, where they come in several parts, the sum so far.
std::uint64_t totals_floats(const Processor& processor, std::uint64_t dim, std::uint64_t chunks) {
    const std::uint64_t together = chunks_together(processor, dim, chunks);
    return totals_stride(dim) * (together + (together < chunks ? 1 : 0));
}

// Launches that make totals of chunks, `make(first chunk, chunks, totals)` each, and add them in order.
template <class Output, class Make>
std::vector<Launch> combined(const Processor& processor, std::uint64_t dim, std::uint64_t chunks,
                             const Ending<Output>& ending, float* totals, const Make& make) {
    const std::uint64_t together = chunks_together(processor, dim, chunks), stride = totals_stride(dim);
    float* so_far = totals + together * stride;
    std::vector<Launch> launches;
    for (std::uint64_t chunk = 0; chunk < chunks; chunk += together) {
        const std::uint64_t count = std::min(together, chunks - chunk);
        const std::uint64_t blocks = ceil_div(ceil_div(dim, 4), CombineTotals<Output>::threads);
        const float* before = chunk == 0 ? nullptr : so_far;
        launches.push_back(make(chunk, count, totals));
        if (chunk + count < chunks) {
            launches.push_back(launch<CombineTotals<Copy>>("weighted_sum_combine", blocks, 1,
                                                           {totals, before, count, stride, dim, Copy{so_far}, true}));
        } else {
            launches.push_back(
                launch<CombineTotals<Output>>(std::string(ending.name) + "_combine", blocks, 1,
                                              {totals, before, count, stride, dim, ending.output, ending.aligned}));
        }
    }
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
        const SumRows rows{row_numbers(weighted.rows), weighted.weights, weighted.rows.count};
        const std::string kind = name_of(address.kind);
        const bool quads_aligned = first % 4 == 0;
        if (chunks < 2 || grid_x * sum_threads >= processor.multiprocessors * resident_threads) {
            return without_scratch(launch<WeightedSum<Share, Output>>(
                std::string(ending.name) + "_" + kind, grid_x, 1,
                {noise, rows, first, dim, ending.output, quads_aligned && ending.aligned}));
        }
        return {totals_floats(processor, dim, chunks) * sizeof(float), [=](void* scratch) {
                    const auto make = [&](std::uint64_t chunk, std::uint64_t count, float* totals) {
                        return launch<ChunkTotals<Share>>(
                            "chunk_totals_" + kind, grid_x, count,
                            {noise, rows, first, dim, chunk, totals, totals_stride(dim), quads_aligned});
                    };
                    return combined(processor, dim, chunks, ending, static_cast<float*>(scratch), make);
                }};
    });
}

// 1 / sqrt(rank) in the default floating-point environment.
float root_scale(std::size_t rank) {
    float scale = 0.0f;
    for_pieces(1, 1.0, [&](std::size_t) { scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(rank))); });
    return scale;
}

LowRankShape low_rank_shape(const LowRank& shape) {
    return {shape.m, shape.n, shape.rank, shape.first};
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
            const QuadSpan span{first, args.stride};
            const std::uint64_t together = members_of_block(processor, span.quads(), rows.count);
            const bool whole =
                first % 4 == 0 && (rows.count == 1 || args.stride % 4 == 0) && aligned({args.theta, args.out});
            return without_scratch(launch<PerturbMembers<Quad, T>>(
                std::string("perturb_") + name_of(address.kind) + "_" + name_of(args.type),
                ceil_div(span.quads(), PerturbMembers<Quad, T>::threads), ceil_div(rows.count, together),
                {NoiseAddress(address), row_numbers(rows), span, rows.count, together, args.theta, args.scales,
                 static_cast<T*>(args.out), whole}));
        });
    });
}

Plan weighted_sum(const Processor& processor, const Address& address, const Weighted& rows, std::uint64_t first,
                  std::uint64_t dim, float* out) {
    return sum(processor, address, rows, first, dim, Ending<Copy>{"weighted_sum", {out}, aligned({out})});
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

Plan low_rank_factors(const Address& address, const Rows& rows, const LowRank& shape, float* out) {
    return fill(address, rows, shape.first, shape.factor_elements(), out);
}

Plan low_rank_perturb(const Processor& processor, const Address& address, const Rows& rows, const LowRank& shape,
                      const float* theta, const float* scales, void* out, OutputType type) {
    return with_kind(address.kind, [&]<class Quad, class Share>() {
        return with_type(type, [&]<class T>() {
            using Body = LowRankPerturb<Quad, T>;
            const LowRankShape sides = low_rank_shape(shape);
            const std::uint64_t together = members_of_block(processor, sides.tiles() * Body::threads, rows.count);
            const bool whole = shape.n % 4 == 0 && aligned({theta, out});
            return without_scratch(
                launch<Body>(std::string("low_rank_perturb_") + name_of(address.kind) + "_" + name_of(type),
                             sides.tiles(), ceil_div(rows.count, together),
                             {NoiseAddress(address), row_numbers(rows), sides, rows.count, together, theta, scales,
                              static_cast<T*>(out), root_scale(shape.rank), whole}));
        });
    });
}

Plan low_rank_sum(const Processor& processor, const Address& address, const Weighted& weighted, const LowRank& shape,
                  float* out) {
    return with_kind(address.kind, [&]<class Quad, class Share>() -> Plan {
        using Body = LowRankSum<Quad>;
        const LowRankShape sides = low_rank_shape(shape);
        const NoiseAddress noise(address);
        const SumRows rows{row_numbers(weighted.rows), weighted.weights, weighted.rows.count};
        const std::uint64_t chunks = ceil_div(weighted.rows.count, chunk_rows), dim = shape.m * shape.n;
        const float root = root_scale(shape.rank);
        const std::string kernel = std::string("low_rank_sum_") + name_of(address.kind);
        const bool whole = shape.n % 4 == 0;
        if (chunks < 2 || sides.tiles() * Body::threads >= processor.multiprocessors * resident_threads) {
            return without_scratch(launch<Body>(
                kernel, sides.tiles(), 1, {noise, rows, sides, 0, chunks, out, dim, root, whole && aligned({out})}));
        }
        const Ending<Copy> ending{"weighted_sum", {out}, aligned({out})};
        return {totals_floats(processor, dim, chunks) * sizeof(float), [=](void* scratch) {
                    const auto make = [&](std::uint64_t chunk, std::uint64_t count, float* totals) {
                        return launch<Body>(kernel, sides.tiles(), count,
                                            {noise, rows, sides, chunk, 1, totals, totals_stride(dim), root, whole});
                    };
                    return combined(processor, dim, chunks, ending, static_cast<float*>(scratch), make);
                }};
    });
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
