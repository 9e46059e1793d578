// Kernels that take more than one pass: ClipUp where its outputs may lie, and low rank on all instruction sets.
#include "tensor.hpp"

namespace fastes::tests {
namespace {

std::string place(const Tensor& tensor) {
    return std::string(" of ") + name_of(tensor.address.kind) + " on " + kernels().name + ", " +
           std::to_string(tensor.shape.m) + " x " + std::to_string(tensor.shape.n) + ", rank " +
           std::to_string(tensor.shape.rank) + ", " + std::to_string(tensor.rows.size()) + " rows, " +
           std::to_string(num_threads()) + " threads";
}

struct Results {
    std::vector<float> factors, perturbed, sum;
    std::vector<std::uint16_t> halves, brains;
};

Results results_of(const Tensor& tensor) {
    const auto theta = ramps(tensor.size()), weights = ramps(tensor.rows.size());
    return {
        tensor.factors(),
        tensor.perturb<float>(theta, weights, OutputType::float32),
        tensor.sum(weights),
        tensor.perturb<std::uint16_t>(theta, weights, OutputType::float16),
        tensor.perturb<std::uint16_t>(theta, weights, OutputType::bfloat16),
    };
}

void check_same(const Results& a, const Results& b, const std::string& where) {
    tests::check_same(a.factors, b.factors, "low_rank_factors" + where);
    tests::check_same(a.perturbed, b.perturbed, "low_rank_perturb to float32" + where);
    tests::check_same(a.halves, b.halves, "low_rank_perturb to float16" + where);
    tests::check_same(a.brains, b.brains, "low_rank_perturb to bfloat16" + where);
    tests::check_same(a.sum, b.sum, "low_rank_sum" + where);
}

// The scalar result on one thread is what all others have to be.
void check_everywhere(const Tensor& tensor, const std::vector<int>& thread_counts) {
    select_isa("scalar");
    set_num_threads(1);
    const Results expected = results_of(tensor);
    for (const auto& isa : isas_usable()) {
        select_isa(isa);
        for (const int threads : thread_counts) {
            if (isa == "scalar" && threads == 1) continue;
            set_num_threads(threads);
            check_same(expected, results_of(tensor), place(tensor));
        }
    }
}

}  // namespace

void test_clipup_in_place() {
    constexpr std::size_t dim = 4099;
    const auto rows = rows_from(7, 65);
    const auto weights = ramps(rows.size()), start = ramps(dim);
    ClipUpStep step{};
    step.lr = 0.15, step.momentum = 0.9, step.max_speed = 0.3, step.l2 = 1e-3f, step.decay = 0.999f;
    for (const auto& isa : isas_usable()) {
        select_isa(isa);
        for (const int threads : {1, 2}) {
            set_num_threads(threads);
            const Noise noise{{3, 0, 1}, rows, 5, dim};
            const ClipUpState expected = noise.clipup_step(weights, {start, start}, step);  // both in place
            for (const int way : {0, 1, 2}) {
                Guarded<float> theta(start), velocity(start), other_theta(dim), other_velocity(dim);
                step.theta_in = theta.data();
                step.velocity_in = velocity.data();
                step.theta_out = way == 1 ? theta.data() : other_theta.data();
                step.velocity_out = way == 2 ? velocity.data() : other_velocity.data();
                const auto keys = row_keys(noise.address, rows);
                clipup_step(noise.address, {keys.data(), weights.data(), rows.size()}, noise.offset, dim, step);
                const std::string where = " on " + isa + ", way " + std::to_string(way);
                tests::check_same(expected.theta, (way == 1 ? theta : other_theta).values(), "theta" + where);
                tests::check_same(expected.velocity, (way == 2 ? velocity : other_velocity).values(), "v" + where);
                if (way != 1) tests::check_same(start, theta.values(), "theta that is only read" + where);
                if (way != 2) tests::check_same(start, velocity.values(), "velocity that is only read" + where);
            }
        }
    }
}

// X_apply(weighted_sum) has the bits of X_step.
void test_given_gradients() {
    SgdStep sgd{};
    sgd.lr = 0.01f, sgd.momentum = 0.9f, sgd.l2 = 1e-3f, sgd.decay = 0.999f, sgd.nesterov = true;
    AdamStep adam{};
    adam.step = 0.1f, adam.v_scale = 31.6f, adam.epsilon = 1e-8f, adam.l2 = 1e-3f, adam.decay = 0.999f;
    adam.beta1 = 0.9f, adam.one_minus_beta1 = 0.1f, adam.beta2 = 0.999f, adam.one_minus_beta2 = 0.001f;
    ClipUpStep clipup{};
    clipup.lr = 0.15, clipup.momentum = 0.9, clipup.max_speed = 0.3, clipup.l2 = 1e-3f, clipup.decay = 0.999f;
    for (const auto& isa : isas_usable()) {
        select_isa(isa);
        for (const int threads : {1, 7}) {
            set_num_threads(threads);
            for (const Kind kind : kinds) {
                for (const std::size_t dim : {1u, 7u, 17u, 1025u, 4099u, 40'001u}) {
                    const Noise noise{{3, 0, 1, kind}, rows_from(7, 5), 5, dim};
                    const auto weights = ramps(5), theta = ramps(dim), uphill = noise.weighted_sum(weights);
                    std::vector<float> squares = theta;
                    for (float& x : squares) x *= x;
                    const std::string where = std::string(" of ") + name_of(kind) + " on " + isa + ", dim " +
                                              std::to_string(dim) + ", " + std::to_string(threads) + " threads";
                    for (const auto& momentum : {std::vector<float>{}, squares}) {
                        const SgdState a = noise.sgd_step(weights, {theta, momentum}, sgd);
                        const SgdState b = sgd_apply(uphill, {theta, momentum}, sgd);
                        tests::check_same(a.theta, b.theta, "sgd_apply" + where);
                        tests::check_same(a.momentum, b.momentum, "momentum of sgd_apply" + where);
                    }
                    const AdamState a = noise.adam_step(weights, {theta, theta, squares}, adam);
                    const AdamState b = adam_apply(uphill, {theta, theta, squares}, adam);
                    tests::check_same(a.theta, b.theta, "adam_apply" + where);
                    tests::check_same(a.m, b.m, "m of adam_apply" + where);
                    tests::check_same(a.v, b.v, "v of adam_apply" + where);
                    const ClipUpState c = noise.clipup_step(weights, {theta, squares}, clipup);
                    const ClipUpState d = clipup_apply(uphill, {theta, squares}, clipup);
                    tests::check_same(c.theta, d.theta, "clipup_sums and clipup_apply" + where);
                    tests::check_same(c.velocity, d.velocity, "velocity of clipup_apply" + where);
                }
            }
        }
    }
}

// Sides around the tiles' 6 rows and 16, 32 or 64 columns and the blocks of 192 rows; rows around a chunk of 64.
void test_low_rank() {
    const std::size_t sides[] = {1, 5, 6, 7, 15, 16, 17, 33, 64, 65};
    const std::size_t counts[] = {0, 1, 3, 63, 64, 65};
    constexpr std::size_t side_count = std::size(sides), count_count = std::size(counts);
    std::size_t number = 0;
    for (const Kind kind : kinds) {
        for (const std::size_t rank : {1u, 2u, 3u}) {
            for (const std::size_t m : sides) {
                const std::size_t n = sides[(3 * number + 1) % side_count], count = counts[number % count_count];
                ++number;
                const std::uint64_t first = number % 2 == 0 ? 97 * number : max_elements - rank * (m + n);
                check_everywhere({{9, 4, 0xFFFFFFFFu, kind}, rows_from(0xFFFFFFFEu, count), {m, n, rank, first}}, {1});
            }
        }
        check_everywhere({{1, 4, 2, kind}, rows_from(0, 3), {195, 67, 1, 5}}, {1, 2, 7});
        // More rows than are in memory at a time, and pieces enough for seven threads.
        check_everywhere({{1, 4, 2, kind}, rows_from(0, 261), {195, 131, 2, 129}}, {1, 2, 7});
    }
}

}  // namespace fastes::tests
