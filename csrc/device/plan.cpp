#include "launches.hpp"

namespace fastes::device {
namespace {

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

Plan environment_step(Dynamics dynamics, const EpisodeStep& step) {
    const auto stepping = [&]<class D>(const char* name) {
        return without_scratch(launch<StepEpisodes<D>>(name, ceil_div(step.count, StepEpisodes<D>::threads), 1,
                                                       {step, aligned({step.observations})}));
    };
    switch (dynamics) {
        case Dynamics::pendulum: return stepping.template operator()<Pendulum>("environment_step_pendulum");
        case Dynamics::cartpole: break;
    }
    return stepping.template operator()<CartPole>("environment_step_cartpole");
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
