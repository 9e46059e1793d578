// Whole episodes: the same bits as one forward for all and one step for all, again and again.
#include "fastes/rollout.hpp"

#include <cmath>
#include <limits>
#include <set>

#include "tests.hpp"

#define FASTES_ISA isa_tests
#include "fastes/environments/decoding.hpp"

namespace fastes::tests {
namespace {

constexpr float nan = std::numeric_limits<float>::quiet_NaN(), infinity = std::numeric_limits<float>::infinity();

void test_argmax() {
    const std::vector<float> values{-infinity, -1.0f, -0.0f, 0.0f, 2.0f, infinity, nan};
    const std::size_t kinds_of = values.size();
    for (std::size_t word = 0; word < kinds_of * kinds_of * kinds_of; ++word) {
        const std::vector<float> outputs{values[word % kinds_of], values[word / kinds_of % kinds_of],
                                         values[word / kinds_of / kinds_of]};
        for (std::size_t count = 1; count <= outputs.size(); ++count) {
            std::size_t expected = 0;
            for (std::size_t k = 0; k < count; ++k) {  // the first NaN, else the first that none exceeds
                const bool nobody_above = std::none_of(outputs.begin(), outputs.begin() + static_cast<int>(count),
                                                       [&](float other) { return other > outputs[k]; });
                const bool any_nan = std::any_of(outputs.begin(), outputs.begin() + static_cast<int>(count),
                                                 [](float other) { return std::isnan(other); });
                if (any_nan ? std::isnan(outputs[k]) : nobody_above) {
                    expected = k;
                    break;
                }
            }
            CHECK(argmax(outputs.data(), count) == static_cast<std::int64_t>(expected),
                  "argmax of word " + std::to_string(word) + ", " + std::to_string(count) + " outputs");
        }
    }
}

void test_clip() {
    CHECK(clip(-3.0f, -2.0f, 1.5f) == -2.0f && clip(3.0f, -2.0f, 1.5f) == 1.5f, "outside");
    CHECK(clip(-2.0f, -2.0f, 1.5f) == -2.0f && clip(0.25f, -2.0f, 1.5f) == 0.25f, "inside");
    CHECK(clip(-infinity, -2.0f, 1.5f) == -2.0f && clip(infinity, -2.0f, 1.5f) == 1.5f, "infinite");
    CHECK(std::isnan(clip(nan, -2.0f, 1.5f)), "NaN");
    CHECK(std::signbit(clip(-0.0f, 0.0f, 1.0f)), "a zero stays the zero that it is");
}

void test_see() {
    const std::vector<float> mean{0.5f, -1.0f, 0.1f}, scale{2.0f, 0.3f, 10.0f}, seen{0.7f, 3.0f, nan};
    std::vector<float> out(3);
    see({mean.data(), scale.data(), 0.0f}, seen.data(), 3, out.data());
    for (std::size_t k = 0; k < 2; ++k) {
        const float shifted = static_cast<float>(static_cast<double>(seen[k]) - static_cast<double>(mean[k]));
        CHECK(out[k] == static_cast<float>(static_cast<double>(shifted) * static_cast<double>(scale[k])),
              "each operation is rounded once");
    }
    CHECK(std::isnan(out[2]), "NaN");
    see({mean.data(), scale.data(), 0.35f}, seen.data(), 3, out.data());
    CHECK(out[0] == 0.35f && out[1] == 0.35f && std::isnan(out[2]), "normalised, then clipped");
    see({nullptr, nullptr, 0.75f}, seen.data(), 3, out.data());
    CHECK(out[0] == 0.7f && out[1] == 0.75f && std::isnan(out[2]), "clipped alone");
}

// A walk whose length depends on its actions: one number of state, two of observation.
template <class Action>
std::int64_t walk(const Episodes* of, std::int64_t count, std::int64_t max_steps) {
    const auto* actions = static_cast<const Action*>(of->actions);
    std::int64_t running = 0;
    for (std::int64_t i = 0; i < count; ++i) {
        if (!of->active[i]) continue;
        of->work[0] = static_cast<double>(actions[i]);
        of->lanes[0] = i;
        if (of->work[0] != of->work[0]) of->work[0] = -0.25;
        of->state[i] += 0.125 * of->work[0] - 0.05;
        of->observations[2 * i] = static_cast<float>(of->state[i]);
        of->observations[2 * i + 1] = static_cast<float>(std::fmod(of->state[i] * 7.3, 1.0));
        of->rewards[i] = of->state[i] * of->state[i];
        of->returns[i] += of->rewards[i];
        of->steps[i] += 1;
        of->terminated[i] = std::abs(of->state[i]) > 0.6;
        of->truncated[i] = of->steps[i] >= max_steps;
        of->active[i] = !(of->terminated[i] || of->truncated[i]);
        running += of->active[i];
    }
    return running;
}

struct Arrays {
    explicit Arrays(std::size_t n)
        : state(n), observations(2 * n), rewards(n), returns(n), totals(2 * n), squares(2 * n), steps(n), flags(4 * n) {
        for (std::size_t i = 0; i < n; ++i) {
            state[i] = static_cast<double>(ramp(i)) * 0.05;
            observations[2 * i] = static_cast<float>(state[i]);
            observations[2 * i + 1] = 0.5f;
            flags[i] = i % 5 != 2;          // active
            flags[3 * n + i] = i % 3 == 0;  // sampled
        }
    }
    Episodes view(void* actions, std::int64_t* lanes, double* work) {
        const std::size_t n = state.size();
        return {state.data(),        actions,        active(),     steps.data(),
                observations.data(), rewards.data(), active() + n, active() + 2 * n,
                returns.data(),      lanes,          work};
    }
    Moments moments() { return {active() + 3 * state.size(), totals.data(), squares.data()}; }
    bool* active() { return reinterpret_cast<bool*>(flags.data()); }
    bool operator==(const Arrays&) const = default;

    std::vector<double> state;
    std::vector<float> observations;
    std::vector<double> rewards, returns, totals, squares;
    std::vector<std::uint32_t> steps;
    std::vector<unsigned char> flags;
};

// The definition.
std::uint64_t play_plainly(const Players& players, const Environment& environment, const Sight& sight,
                           const Decoding& decoding, const Moments& moments, Arrays& arrays) {
    const std::size_t n = arrays.state.size();
    std::vector<float> outputs(decoding.outputs), forces(n), scratch(players.shape.scratch_floats()), seen(2);
    std::vector<std::int64_t> choices(n);
    std::int64_t lanes = 0;
    double work = 0.0;
    const bool discrete = decoding.low == nullptr;
    const Episodes view =
        arrays.view(discrete ? static_cast<void*>(choices.data()) : static_cast<void*>(forces.data()), &lanes, &work);
    std::uint64_t taken = 0;
    for (std::int64_t running = 1; running > 0;) {
        for (std::size_t i = 0; i < n; ++i) {
            if (!view.active[i]) continue;
            ++taken;
            see(sight, view.observations + 2 * i, 2, seen.data());
            kernels().mlp_forward(players.shape, players.packed + i / players.batch * players.packed_floats, 1,
                                  seen.data(), outputs.data(), scratch.data());
            choices[i] = argmax(outputs.data(), outputs.size());
            if (!discrete) forces[i] = clip(outputs[0], decoding.low[0], decoding.high[0]);
            for (std::size_t k = 2 * i; moments.sampled[i] && k < 2 * i + 2; ++k) {
                const double value = static_cast<double>(view.observations[k]);
                moments.totals[k] += value;
                moments.squares[k] += value * value;
            }
        }
        running = environment.step(&view, static_cast<std::int64_t>(n), environment.max_steps);
    }
    return taken;
}

void test_play() {
    const float mean[] = {0.1f, -0.2f}, scale[] = {1.5f, 0.7f}, low[] = {-0.5f}, high[] = {0.75f};
    const Sight sights[] = {{nullptr, nullptr, 0.0f}, {mean, scale, 0.0f}, {mean, scale, 0.4f}};
    for (const bool discrete : {true, false}) {
        for (const std::size_t batch : {1u, 3u, 20u}) {
            constexpr std::size_t members = 11;
            const std::uint32_t outputs = discrete ? 2 : 1;
            const std::vector<MlpLayer> layers{{2, 20, 0, 40, Activation::tanh},
                                               {20, outputs, 60, no_bias, Activation::identity}};
            const std::uint64_t dim = 60 + 20 * outputs, floats = layers[0].packed_floats() + layers[1].packed_floats();
            std::vector<float> thetas = ramps(members * dim), packed(members * floats);
            thetas[3 * dim] = nan;  // a member whose outputs are all NaN
            for (float& value : thetas) value *= 0.2f;
            const MlpShape shape{layers.data(), layers.size(), 32};
            for (std::size_t k = 0; k < members; ++k) {
                kernels().mlp_pack(shape, thetas.data() + k * dim, packed.data() + k * floats);
            }
            const Players players{shape, packed.data(), floats, batch};
            const Environment environment{discrete ? walk<std::int64_t> : walk<float>, 1, 2, 1, 1, 12};
            const Decoding decoding{outputs, discrete ? nullptr : low, discrete ? nullptr : high};
            for (const Sight& sight : sights) {
                Arrays expected(members * batch);
                select_isa("scalar");
                const std::uint64_t taken =
                    play_plainly(players, environment, sight, decoding, expected.moments(), expected);
                for (const auto& isa : isas_usable()) {
                    select_isa(isa);
                    for (const int threads : {1, 2, 7}) {
                        set_num_threads(threads);
                        Arrays actual(members * batch);
                        const std::string what = std::to_string(batch) + " episodes a member on " + isa + ", " +
                                                 std::to_string(threads) + " threads";
                        CHECK(play(players, environment, sight, decoding, actual.moments(),
                                   actual.view(nullptr, nullptr, nullptr), members * batch) == taken,
                              "steps, " + what);
                        CHECK(actual == expected, what);
                    }
                }
                const std::set<std::uint32_t> lengths(expected.steps.begin(), expected.steps.end());
                CHECK(*lengths.begin() == 0 && lengths.size() > 3, "lengths are not mixed: the test is void");
            }
        }
    }
}

}  // namespace

void test_rollout() {
    test_argmax();
    test_clip();
    test_see();
    test_play();
}

}  // namespace fastes::tests
